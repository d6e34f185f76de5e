/**
 * A process in the simulated world: it can die, and it can stand still. What it had in mind happens later, where it stood
 * still, and never, where it died. Links says who reaches whom; each direction can be cut alone.
 */
import type { World } from './world.ts';

export class Party {
  readonly name: string;
  alive = true;
  /** How far its clock was set ahead. */
  clockAheadMs = 0;
  readonly #world: World;
  #pausedUntilMs = 0;

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
  }

  /** Stands still, and goes on later as if nothing had happened. */
  pause(ms: number): void {
    this.#pausedUntilMs = this.#world.nowMs + Math.round(ms);
  }

  /** Runs later in this very process, and after its pause if it has one. Returns the way to take it back. */
  later(ms: number, run: () => void): () => void {
    const wake = (): void => {
      if (!this.alive) return;
      const { nowMs } = this.#world;
      if (nowMs < this.#pausedUntilMs) cancel = this.#world.after(this.#pausedUntilMs - nowMs, wake);
      else run();
    };
    let cancel = this.#world.after(ms, wake);
    return () => cancel();
  }
}

export class Links {
  readonly #cut = new Set<string>();

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  restore(from: string, to: string): void {
    this.#cut.delete(`${from}>${to}`);
  }

  restoreAll(): void {
    this.#cut.clear();
  }

  passes(from: string, to: string): boolean {
    return !this.#cut.has(`${from}>${to}`);
  }
}
