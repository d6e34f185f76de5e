/** What tests of a leader begin with: a journal and a store in memory, and a clock that stands until a test moves it. */
import { Fold } from '../../../coordinator/fold.ts';
import { Leader, type LeaderOptions } from '../../../coordinator/leader.ts';
import type { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { MemoryDisk } from './memory-journal.ts';

export class Scene {
  nowMs = 1_000;
  store = new MemoryStore();
  readonly disk = new MemoryDisk();
  readonly clock = { now: (): number => this.nowMs, sleep: (): Promise<void> => new Promise(() => undefined) };

  /** The leader of the next term. @param more what it is to have instead of the scene's own */
  async lead(leaseMs: number, on = this.disk, more: Partial<Pick<LeaderOptions, 'journal' | 'store' | 'observe'>> = {}): Promise<Leader> {
    const { journal = on.open(), store = this.store } = more;
    return new Leader({ ...more, journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs, clock: this.clock });
  }

  register(leader: Leader, slots: number, ...workerIds: string[]): void {
    for (const workerId of workerIds) leader.scheduler.register({ workerId, host: 'h', processId: 1, device: 'd', slots, version: 'v' }, [], this.nowMs);
  }

  /** All that is journalled, in order. */
  async facts(): Promise<NonNullable<Event['fact']>[]> {
    const facts: Event[] = [];
    for await (const group of this.disk.open().read(0)) facts.push(...group.events);
    return facts.flatMap(({ fact }) => fact ?? []);
  }
}
