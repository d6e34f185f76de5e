/** The engines against the suite that all of them pass, and what is LMDB's own: whose the folder is, and what kill -9 leaves. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open as openLmdb } from 'lmdb';
import { afterAll, describe, expect, test } from 'vitest';
import { EVENT_SCHEMA_VERSION, openEmbedded } from '../../../coordinator/journal/index.ts';
import { EventGroup } from '../../../proto/gen/alumnus/v1/events.ts';
import { journalConformance, pausedMany, readAll, type OpenJournal } from './journal-conformance.ts';
import { compileJournal } from './compiled-journal.ts';

const home = mkdtempSync(join(tmpdir(), 'alumnus-journal-'));
let places = 0;
const freshPlace = (): string => join(home, `journal-${(places += 1)}`);
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** Opens a folder's journal and begins a term. */
const lead = async (folder: string): Promise<OpenJournal> => {
  const journal = await openEmbedded(folder);
  return { journal, term: await journal.begin() };
};

journalConformance('in a folder (LMDB)', lead, freshPlace);

/** Runs a program beside this one against a compiled journal; `lines` are what it printed so far. */
function startBeside(program: string, folder: string): { kill: () => Promise<void>; lines: () => string[]; sees: (count: number) => Promise<void>; pid: number } {
  const path = join(home, `program-${(places += 1)}.mjs`);
  writeFileSync(path, program.replaceAll('JOURNAL', JSON.stringify(compileJournal(home))).replaceAll('FOLDER', JSON.stringify(folder)));
  const child = spawn(process.execPath, [path], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let complaint = '';
  child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (complaint += bytes.toString()));
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const lines = (): string[] => text.split('\n').slice(0, -1);
  return {
    pid: child.pid ?? 0, lines,
    kill: () => {
      child.kill('SIGKILL');
      return ended;
    },
    sees: async (count) => {
      while (lines().length < count) {
        if (child.exitCode !== null) throw new Error(`the program ended: ${complaint}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}

const appendsForever = `
import { openEmbedded } from JOURNAL;
const journal = await openEmbedded(FOLDER);
const term = await journal.begin();
for (let group = 1; ; group += 1) {
  const events = Array.from({ length: 1 + group % 7 }, (_, index) => ({ runId: 'run-' + group, atMs: index, fact: { $case: 'runPaused', value: { reason: 'x'.repeat(group * 37 % 4000), by: String(1 + group % 7), rule: '' } } }));
  const last = await journal.append(journal.lastSequence, term, events);
  process.stdout.write(last + '\\n');
}`;

const holds = `
import { openEmbedded } from JOURNAL;
const term = await (await openEmbedded(FOLDER)).begin();
process.stdout.write(term + '\\n');
setInterval(() => undefined, 1000);`;

describe('the journal in a folder', () => {
  test('after kill -9 in the middle of appends every acknowledged group is there, and every group is whole', async () => {
    const folder = freshPlace();
    let before = 0;
    for (const groups of [1, 15, 30]) {
      const writer = startBeside(appendsForever, folder);
      await writer.sees(groups);
      await writer.kill();
      const acknowledged = Number(writer.lines().at(-1));
      expect(acknowledged).toBeGreaterThan(before);
      const journal = await openEmbedded(folder);
      expect(journal.lastSequence).toBeGreaterThanOrEqual(acknowledged);
      let next = 1;
      for (const group of await readAll(journal)) {
        expect(group.firstSequence).toBe(next);
        next += group.events.length;
        for (const event of group.events) expect(event.fact).toMatchObject({ value: { by: String(group.events.length) } });
      }
      expect(next - 1).toBe(journal.lastSequence);
      before = journal.lastSequence;
      await journal.close();
    }
  });

  test('a folder in which a living coordinator leads is not taken; a dead one is succeeded, with a higher term', async () => {
    const folder = freshPlace();
    const other = startBeside(holds, folder);
    await other.sees(1);
    await expect(openEmbedded(folder)).rejects.toMatchObject({ code: 'HOME_IN_USE', message: expect.stringContaining(String(other.pid)) as string });
    await other.kill();
    const { journal, term } = await lead(folder);
    expect(term).toBe(Number(other.lines()[0]) + 1);
    await journal.close();
  });

  test('the id of a dead coordinator, given to another process meanwhile, does not keep the folder', async () => {
    const folder = freshPlace();
    await (await openEmbedded(folder)).close();
    const root = openLmdb<Buffer, string>({ path: folder, maxDbs: 2, encoding: 'binary' });
    await root.openDB<object, string>('leader', { encoding: 'json' }).put('owner', { term: 7, pid: process.ppid, startedAt: 'before the last boot' });
    await root.close();
    const { journal, term } = await lead(folder);
    expect(term).toBe(8);
    await journal.close();
  });

  async function plant(folder: string, key: number, group: Partial<EventGroup>): Promise<void> {
    const root = openLmdb<Buffer, string>({ path: folder, maxDbs: 2, encoding: 'binary' });
    const bytes = Buffer.from(EventGroup.encode({ schemaVersion: EVENT_SCHEMA_VERSION, term: 1, firstSequence: key, events: pausedMany(key, 1), ...group }).finish());
    await root.openDB<Buffer, number>('groups', { encoding: 'binary' }).put(key, bytes);
    await root.close();
  }

  test('a journal of a newer schema is refused before anything is decided from it', async () => {
    const folder = freshPlace();
    await (await openEmbedded(folder)).close();
    await plant(folder, 1, { schemaVersion: EVENT_SCHEMA_VERSION + 1 });
    await expect(openEmbedded(folder)).rejects.toMatchObject({ code: 'JOURNAL_UNREADABLE', message: expect.stringContaining(`schema ${EVENT_SCHEMA_VERSION + 1}`) as string });
  });

  test.each([['in the middle', [1, 3]], ['at the beginning', [2, 3]]])('facts that are missing %s are noticed', async (_, keys) => {
    const folder = freshPlace();
    await (await openEmbedded(folder)).close();
    for (const key of keys) await plant(folder, key, {});
    const journal = await openEmbedded(folder);
    await expect(readAll(journal)).rejects.toMatchObject({ code: 'JOURNAL_UNREADABLE' });
    await journal.close();
  });

  test('a file that is no journal is refused with its place', async () => {
    const folder = freshPlace();
    mkdirSync(folder);
    writeFileSync(join(folder, 'data.mdb'), 'not a journal, '.repeat(10_000));
    await expect(openEmbedded(folder)).rejects.toMatchObject({ code: 'JOURNAL_UNREADABLE', where: folder });
  });
});
