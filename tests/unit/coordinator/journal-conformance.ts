/**
 * What every journal engine keeps: the invariants of coordinator/journal/index.ts, as one suite to run against each.
 * An engine's own tests (who owns a folder, what a kill leaves) stand beside its call.
 */
import { describe, expect, test } from 'vitest';
import { decide, openTasks } from '../../../coordinator/run/index.ts';
import type { Journal } from '../../../coordinator/journal/index.ts';
import type { Event, EventGroup } from '../../../proto/gen/alumnus/v1/events.ts';
import type { SnapshotRef } from '../../../proto/gen/alumnus/v1/record.ts';
import { answer, fold, makeData, makeRecipe } from './work.ts';

export interface OpenJournal {
  readonly journal: Journal;
  readonly term: number;
}

/**
 * Opens the journal of one place and reads it, from `after` on; each call on the same place takes over: it has a higher term,
 * and deposes the one before.
 */
export type Open = (place: string, after?: number) => Promise<OpenJournal>;

export const paused = (index: number): Event => ({ runId: `run-${index}`, atMs: index, fact: { $case: 'runPaused', value: { reason: `pause ${index}`, by: 'operator', rule: '' } } });
export const refAt = (sequence: number, term: number): SnapshotRef => ({ sequence, term, snapshot: { key: `snapshots/${sequence}`, sha256: 'a'.repeat(64), bytes: 10 } });
export const pausedMany = (from: number, count: number): Event[] => Array.from({ length: count }, (_, index) => paused(from + index));

export async function readAll(journal: Journal, after = 0): Promise<EventGroup[]> {
  const groups: EventGroup[] = [];
  for await (const group of journal.read(after)) groups.push(group);
  return groups;
}

const eventsOf = (groups: readonly EventGroup[]): Event[] => groups.flatMap((group) => group.events);

/** @param freshPlace names a place where no journal lies yet. */
export function journalConformance(name: string, open: Open, freshPlace: () => string): void {
  describe(`the journal ${name}`, () => {
    test('a fresh one is empty', async () => {
      const { journal } = await open(freshPlace());
      expect(journal.lastSequence).toBe(0);
      expect(await readAll(journal)).toEqual([]);
      await journal.close();
    });

    test('numbers facts without gaps, keeps groups whole and in order, and says so after it was opened again', async () => {
      const place = freshPlace();
      const { journal, term } = await open(place);
      expect(await journal.append(0, term, pausedMany(1, 3))).toBe(3);
      expect(await journal.append(3, term, pausedMany(4, 1))).toBe(4);
      expect(await journal.append(4, term, pausedMany(5, 2))).toBe(6);
      expect(journal.lastSequence).toBe(6);
      const told = await readAll(journal);
      expect(told.map((group) => [group.firstSequence, group.events.length, group.term])).toEqual([[1, 3, term], [4, 1, term], [5, 2, term]]);
      expect(eventsOf(told)).toEqual(pausedMany(1, 6));
      await journal.close();
      const again = await open(place);
      expect(again.journal.lastSequence).toBe(6);
      expect(await readAll(again.journal)).toEqual(told);
      await again.journal.close();
    });

    test('reads on after a sequence; a group that only begins before it is told whole', async () => {
      const { journal, term } = await open(freshPlace());
      await journal.append(0, term, pausedMany(1, 3));
      await journal.append(3, term, pausedMany(4, 2));
      const firsts = async (after: number): Promise<number[]> => (await readAll(journal, after)).map((group) => group.firstSequence);
      expect(await firsts(0)).toEqual([1, 4]);
      expect(await firsts(2)).toEqual([1, 4]);
      expect(await firsts(3)).toEqual([4]);
      expect(await firsts(5)).toEqual([]);
      await journal.close();
    });

    test.each([['behind', 0], ['ahead', 4]])('an append whose expected sequence is %s changes nothing', async (_, expected) => {
      const { journal, term } = await open(freshPlace());
      await journal.append(0, term, pausedMany(1, 3));
      await expect(journal.append(expected, term, pausedMany(9, 1))).rejects.toMatchObject({ code: 'JOURNAL_CONFLICT' });
      expect(journal.lastSequence).toBe(3);
      expect(eventsOf(await readAll(journal))).toEqual(pausedMany(1, 3));
      expect(await journal.append(3, term, pausedMany(4, 1))).toBe(4);
      await journal.close();
    });

    test('an append of a deposed leader changes nothing, even where it expects the right sequence', async () => {
      const place = freshPlace();
      const old = await open(place);
      await old.journal.append(0, old.term, pausedMany(1, 1));
      const next = await open(place);
      expect(next.term).toBeGreaterThan(old.term);
      expect(next.journal.lastSequence).toBe(1);
      await expect(old.journal.append(1, old.term, pausedMany(2, 1))).rejects.toMatchObject({ code: 'JOURNAL_CONFLICT' });
      expect(await next.journal.append(1, next.term, pausedMany(7, 1))).toBe(2);
      await expect(old.journal.append(1, old.term, pausedMany(2, 1))).rejects.toMatchObject({ code: 'JOURNAL_CONFLICT' });
      expect(eventsOf(await readAll(next.journal))).toEqual([paused(1), paused(7)]);
      await next.journal.close();
    });

    test('a term that was never given out appends nothing', async () => {
      const { journal, term } = await open(freshPlace());
      await expect(journal.append(0, term + 1, pausedMany(1, 1))).rejects.toMatchObject({ code: 'JOURNAL_CONFLICT' });
      expect(journal.lastSequence).toBe(0);
      await journal.close();
    });

    test('a term that begins again is a newer one, and deposes the one before', async () => {
      const { journal, term } = await open(freshPlace());
      await journal.append(0, term, pausedMany(1, 1));
      const next = await journal.begin();
      expect(next).toBe(term + 1);
      await expect(journal.append(1, term, pausedMany(2, 1))).rejects.toMatchObject({ code: 'JOURNAL_CONFLICT' });
      expect(await journal.append(1, next, pausedMany(7, 1))).toBe(2);
      expect((await readAll(journal)).map((group) => group.term)).toEqual([term, next]);
      await journal.close();
    });

    test('a deposed leader begins no term before it has read what it missed', async () => {
      const place = freshPlace();
      const old = await open(place);
      const next = await open(place);
      await next.journal.append(0, next.term, pausedMany(1, 2));
      await expect(old.journal.begin()).rejects.toMatchObject({ code: 'JOURNAL_CONFLICT' });
      expect(await next.journal.append(2, next.term, pausedMany(3, 1))).toBe(3);
      await next.journal.close();
    });

    test('without a snapshot there is none', async () => {
      const { journal } = await open(freshPlace());
      expect(await journal.snapshot()).toBeUndefined();
      await journal.close();
    });

    test('a truncation drops what its snapshot covers and nothing else; both outlive a new opening', async () => {
      const place = freshPlace();
      const { journal, term } = await open(place);
      await journal.append(0, term, pausedMany(1, 3));
      await journal.append(3, term, pausedMany(4, 2));
      await journal.append(5, term, pausedMany(6, 1));
      await journal.truncate(refAt(5, term));
      expect(await journal.snapshot()).toEqual(refAt(5, term));
      expect(eventsOf(await readAll(journal, 5))).toEqual(pausedMany(6, 1));
      await expect(readAll(journal, 4)).rejects.toMatchObject({ code: 'JOURNAL_UNREADABLE', message: expect.stringContaining('snapshot') as string });
      expect(await journal.append(6, term, pausedMany(7, 1))).toBe(7);
      await journal.close();
      const again = await open(place, 5);
      expect(again.journal.lastSequence).toBe(7);
      expect(await again.journal.snapshot()).toEqual(refAt(5, term));
      expect(eventsOf(await readAll(again.journal, 5))).toEqual(pausedMany(6, 2));
      await again.journal.close();
    });

    test('a snapshot that ends within a group leaves that group whole', async () => {
      const place = freshPlace();
      const { journal, term } = await open(place);
      await journal.append(0, term, pausedMany(1, 2));
      await journal.append(2, term, pausedMany(3, 3));
      await journal.append(5, term, pausedMany(6, 1));
      await journal.truncate(refAt(4, term));
      expect((await readAll(journal, 4)).map((group) => group.firstSequence)).toEqual([3, 6]);
      await journal.close();
    });

    test('sequences and terms go on after a truncation of everything', async () => {
      const place = freshPlace();
      const { journal, term } = await open(place);
      await journal.append(0, term, pausedMany(1, 3));
      await journal.truncate(refAt(3, term));
      expect(await readAll(journal, 3)).toEqual([]);
      await journal.close();
      const again = await open(place, 3);
      expect(again.term).toBeGreaterThan(term);
      expect(again.journal.lastSequence).toBe(3);
      expect(await again.journal.append(3, again.term, pausedMany(4, 1))).toBe(4);
      expect(eventsOf(await readAll(again.journal, 3))).toEqual([paused(4)]);
      await again.journal.close();
    });

    test('an older snapshot than the kept one changes nothing', async () => {
      const { journal, term } = await open(freshPlace());
      await journal.append(0, term, pausedMany(1, 1));
      await journal.append(1, term, pausedMany(2, 1));
      await journal.truncate(refAt(2, term));
      await journal.truncate(refAt(1, term));
      expect(await journal.snapshot()).toEqual(refAt(2, term));
      await journal.close();
    });

    test('a deposed leader truncates nothing', async () => {
      const place = freshPlace();
      const old = await open(place);
      await old.journal.append(0, old.term, pausedMany(1, 1));
      await old.journal.append(1, old.term, pausedMany(2, 1));
      const next = await open(place);
      await expect(old.journal.truncate(refAt(1, old.term))).rejects.toMatchObject({ code: 'JOURNAL_CONFLICT' });
      expect(await next.journal.snapshot()).toBeUndefined();
      await next.journal.truncate(refAt(2, next.term));
      await expect(old.journal.truncate(refAt(2, old.term))).rejects.toMatchObject({ code: 'JOURNAL_CONFLICT' });
      expect(await next.journal.snapshot()).toEqual(refAt(2, next.term));
      await next.journal.close();
    });

    test('a single fact may be larger than a message', async () => {
      const { journal, term } = await open(freshPlace());
      const large: Event = { runId: 'run', atMs: 1, fact: { $case: 'runPaused', value: { reason: 'x'.repeat(700_000), by: 'operator', rule: '' } } };
      expect(await journal.append(0, term, [large])).toBe(1);
      expect(eventsOf(await readAll(journal))).toEqual([large]);
      await journal.close();
    });

    test('a whole run goes in and comes back as the same state', async () => {
      const place = freshPlace();
      const { journal, term } = await open(place);
      let { state, events } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 2, control: true }), data: makeData({ truth: true }) }, 1);
      await journal.append(0, term, events);
      for (;;) {
        const [task] = openTasks(state);
        if (task === undefined) break;
        ({ state, events } = decide(state, { kind: 'complete', task, workerId: 'w1', result: answer(task) }, 2));
        await journal.append(journal.lastSequence, term, events);
      }
      expect(state.phase).toBe('succeeded');
      await journal.close();
      const again = await open(place);
      expect(fold(eventsOf(await readAll(again.journal)))).toEqual(state);
      await again.journal.close();
    });
  });
}
