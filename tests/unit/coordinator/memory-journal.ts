/** A journal in memory that several coordinators share: what lies there is bytes, and each has a way to it of its own. */
import { AlumnusError } from '../../../proto/errors.ts';
import { EventGroup } from '../../../proto/gen/alumnus/v1/events.ts';
import type { SnapshotRef } from '../../../proto/gen/alumnus/v1/record.ts';
import type { Journal } from '../../../coordinator/journal/index.ts';

export class MemoryDisk {
  groups: { bytes: Uint8Array; first: number; last: number }[] = [];
  last = 0;
  term = 0;
  snapshot: SnapshotRef | undefined;

  /** Nobody reaches it. */
  away = false;

  open(): Journal {
    let known = 0;
    const reach = (): void => {
      if (this.away) throw new AlumnusError('JOURNAL_UNREACHABLE', 'nobody answers', { where: 'memory' });
    };
    const last = (): number => this.last;
    return {
      description: 'memory', factBytesMax: 64 * 1024 * 1024,
      get lastSequence() {
        return Math.min(known, last());
      },
      begin: async () => {
        reach();
        if (known !== this.last) throw new AlumnusError('JOURNAL_CONFLICT', `the journal is at ${this.last}`);
        return (this.term += 1);
      },
      append: async (expectedSequence, term, events) => {
        reach();
        if (term !== this.term || expectedSequence !== this.last) throw new AlumnusError('JOURNAL_CONFLICT', `term ${term} at ${expectedSequence}, the journal is in term ${this.term} at ${this.last}`);
        this.groups.push({ bytes: EventGroup.encode({ schemaVersion: 1, term, firstSequence: expectedSequence + 1, events: [...events] }).finish(), first: expectedSequence + 1, last: expectedSequence + events.length });
        return (known = this.last += events.length);
      },
      read: (after) => this.#read(after, (sequence) => (known = sequence), reach),
      snapshot: async () => {
        reach();
        return this.snapshot;
      },
      truncate: async (snapshot) => {
        if (snapshot.sequence <= (this.snapshot?.sequence ?? 0)) return;
        this.snapshot = snapshot;
        this.groups = this.groups.filter((group) => group.last > snapshot.sequence);
      },
      close: async () => undefined,
    };
  }

  async *#read(after: number, reached: (sequence: number) => void, reach: () => void): AsyncGenerator<EventGroup> {
    reach();
    if (after < (this.snapshot?.sequence ?? 0)) throw new AlumnusError('JOURNAL_UNREADABLE', 'a snapshot covers what was asked for');
    reached(Math.max(after, this.snapshot?.sequence ?? 0));
    for (const { bytes, last } of [...this.groups]) {
      if (last <= after) continue;
      yield EventGroup.decode(bytes);
      reached(last);
    }
  }
}
