/**
 * The journal's durable part, and a leader's way to it that can be slow, be cut at any point, or lose its answer. What
 * lies on the disk is bytes: what a leader reads back is decoded from them. Every group is shown to the checker as it is
 * written, which is when it becomes true.
 */
import { AlumnusError } from '../../proto/errors.ts';
import { EventGroup, type Event } from '../../proto/gen/alumnus/v1/events.ts';
import { EVENT_SCHEMA_VERSION, GROUP_BYTES_MAX, type Journal } from '../../coordinator/journal/index.ts';
import type { Plan } from './plan.ts';
import type { World } from './world.ts';

/** Ways to break the disk on purpose, to see that the checkers notice. */
export type DiskMutant = 'none' | 'forgets-acknowledged' | 'ignores-sequence' | 'writes-twice';

export class Disk {
  readonly groups: Uint8Array[] = [];
  lastSequence = 0;
  term = 0;
  readonly mutant: DiskMutant;

  constructor(mutant: DiskMutant = 'none') {
    this.mutant = mutant;
  }

  /** @throws AlumnusError JOURNAL_CONFLICT as every engine does. */
  write(group: EventGroup): void {
    const expected = this.lastSequence + 1;
    if (this.mutant !== 'ignores-sequence') {
      if (group.term !== this.term) throw new AlumnusError('JOURNAL_CONFLICT', `term ${group.term} is deposed by term ${this.term}`);
      if (group.firstSequence !== expected) throw new AlumnusError('JOURNAL_CONFLICT', `the journal is at ${this.lastSequence}`);
    }
    const bytes = EventGroup.encode(group).finish();
    if (bytes.length > GROUP_BYTES_MAX && group.events.length > 1) throw new Error('a group outgrew its message');
    this.groups.push(bytes);
    if (this.mutant === 'writes-twice') this.groups.push(bytes);
    this.lastSequence += group.events.length;
  }
}

export interface AppendHooks {
  /** The faults of the moment, or none when the world has healed. */
  readonly faulty: () => boolean;
  readonly onWritten: (group: EventGroup) => void;
  /** Ends this leader's process between the write and the acknowledgement. */
  readonly kill: () => void;
  readonly isAlive: () => boolean;
}

export function journalOf(world: World, disk: Disk, plan: Plan, hooks: AppendHooks): Journal {
  const { random } = world;
  let lastSequence = disk.lastSequence;
  const slow = (): number => {
    if (!hooks.faulty() || !random.chance(plan.chance.appendSlow)) return random.next() * plan.appendMs;
    world.count('fault: slow append');
    return random.magnitude(1_000, 30_000);
  };
  return {
    description: 'simulated',
    factBytesMax: 64 * 1024 * 1024,
    begin: () => Promise.resolve(disk.term),
    snapshot: () => Promise.resolve(undefined),
    truncate: () => Promise.resolve(),
    get lastSequence() {
      return lastSequence;
    },
    append(expectedSequence: number, term: number, events: readonly Event[]): Promise<number> {
      const group = EventGroup.decode(EventGroup.encode({ schemaVersion: EVENT_SCHEMA_VERSION, term, firstSequence: expectedSequence + 1, events: [...events] }).finish());
      const fault = hooks.faulty() ? random.next() : 1;
      return new Promise((resolve, reject) => {
        const { appendRefused, appendLostAck, killInAppend } = plan.chance;
        if (fault < appendRefused) {
          world.count('fault: append refused');
          world.after(slow(), () => reject(new AlumnusError('STORE_FULL', 'the journal cannot grow')));
          return;
        }
        const lostAck = fault < appendRefused + appendLostAck;
        const killed = !lostAck && fault < appendRefused + appendLostAck + killInAppend;
        // On its way the group no longer depends on the leader: it may arrive after that one's death.
        world.after(slow(), () => {
          try {
            disk.write(group);
          } catch (thrown) {
            if (!hooks.isAlive()) return;
            world.count('branch: a deposed leader\'s append is refused');
            reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
            return;
          }
          if (!hooks.isAlive()) world.count('branch: a dead leader\'s append arrives');
          hooks.onWritten(group);
          if (killed) {
            world.count('fault: killed between append and acknowledgement');
            hooks.kill();
            return;
          }
          world.after(slow(), () => {
            if (disk.mutant === 'forgets-acknowledged' && disk.groups.length === 5) disk.groups.pop();
            if (!hooks.isAlive()) return;
            if (lostAck) {
              world.count('fault: acknowledgement of an append lost');
              reject(new AlumnusError('TIMED_OUT', 'the journal did not answer'));
              return;
            }
            lastSequence = group.firstSequence + group.events.length - 1;
            resolve(lastSequence);
          });
        });
      });
    },
     
    async *read(sequence) {
      for (const bytes of disk.groups) {
        const group = EventGroup.decode(bytes);
        if (group.firstSequence + group.events.length - 1 > sequence) yield group;
      }
    },
    close: () => Promise.resolve(),
  };
}
