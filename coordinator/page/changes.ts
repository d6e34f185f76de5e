/** The present leader, and a number that grows with each change that it tells of: what answers are made for, and kept by. Not for: progress, which workers report without a change. */
import type { Leader } from '../leader.ts';
import type { Leading } from '../node.ts';

export class Changes {
  readonly #leading: Leading;
  #leader: Leader | undefined;
  #stop: () => void = () => undefined;
  #version = 0;

  constructor(leading: Leading) {
    this.#leading = leading;
  }

  /** @throws AlumnusError NOT_LEADER */
  leader(): Leader {
    const leader = this.#leading.leader();
    if (leader !== this.#leader) {
      this.#stop();
      this.#leader = leader;
      this.#stop = leader.onChange(() => void (this.#version += 1));
      this.#version += 1;
    }
    return leader;
  }

  get version(): number {
    return this.#version;
  }

  close(): void {
    this.#stop();
  }
}
