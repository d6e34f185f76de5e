/**
 * Virtual time and seeded chance. Events run one at a time, in order of their time and then of their making; between two
 * of them everything that the coordinator promised itself has run. So a seed gives one history, on any machine.
 */

/** Seeded numbers: sfc32 (Doty-Humphrey's PractRand, "small fast counter"), warmed up as its author asks. */
export class Random {
  #a = 0;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, stream = 0) {
    this.#b = seed | 0;
    this.#c = stream | 0;
    for (let round = 0; round < 15; round += 1) this.next();
  }

  /** In [0, 1). */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** A whole number, both ends included. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  /** Spread evenly over orders of magnitude, so that small and large are both met. */
  magnitude(least: number, most: number): number {
    return Math.exp(Math.log(least) + this.next() * (Math.log(most) - Math.log(least)));
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new Error('invariant broken: something is picked from something');
    return item;
  }
}

interface Scheduled {
  cancelled: boolean;
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class World {
  readonly random: Random;
  nowMs = 1_000_000;
  events = 0;
  readonly counts = new Map<string, number>();
  #order = 0;
  #heap: Scheduled[] = [];

  constructor(random: Random) {
    this.random = random;
  }

  /** One more of a fault or branch, for the closing table. */
  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** Rounded to whole milliseconds. Returns the way to take it back: what nobody waits for any more costs no turn. */
  after(delayMs: number, run: () => void): () => void {
    this.#order += 1;
    const added: Scheduled = { atMs: this.nowMs + Math.max(0, Math.round(delayMs)), order: this.#order, run, cancelled: false };
    const heap = this.#heap;
    let at = heap.push(added) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(added, heap[parent] as Scheduled)) break;
      heap[at] = heap[parent] as Scheduled;
      at = parent;
    }
    heap[at] = added;
    return () => {
      added.cancelled = true;
    };
  }

  #take(): Scheduled | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Scheduled, heap[child] as Scheduled)) child += 1;
      if (!before(heap[child] as Scheduled, last)) break;
      heap[at] = heap[child] as Scheduled;
      at = child;
    }
    heap[at] = last;
    return first;
  }

  /** Runs the next event and all promises that follow from it. False when nothing is left to happen. */
  async step(): Promise<boolean> {
    let next = this.#take();
    while (next?.cancelled === true) next = this.#take();
    if (next === undefined) return false;
    this.nowMs = next.atMs;
    this.events += 1;
    next.run();
    await settle();
    return true;
  }
}

const before = (a: Scheduled, b: Scheduled): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

/** The leader gathers a group until the event loop's next turn; the first turn runs what was promised, the second sees the group sent off. */
async function settle(): Promise<void> {
  await turn();
  await turn();
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
