/**
 * What coordinator and workers logged about runs, the newest of it, in memory: for who looks into a run and has no way to its machines.
 * Lost with the leader; the whole log is where each process writes it, and what is true of a run is in its facts.
 * Invariant: LINES_MAX lines of a run and RUNS_MAX runs are held at most, and numbers of a run's lines rise by one.
 */
import type { LogLine } from '../proto/gen/alumnus/v1/worker.ts';

const LINES_MAX = 2_000;
/** Those that were last logged about. */
const RUNS_MAX = 200;
const TEXT_CHARS_MAX = 4_000;

export interface HeldLine {
  readonly number: number;
  readonly line: LogLine;
  /** Empty: the coordinator's. */
  readonly workerId: string;
}

export class RunLogs {
  readonly #runs = new Map<string, { lines: HeldLine[]; total: number }>();

  add(line: LogLine, workerId: string): void {
    const held = this.#runs.get(line.runId) ?? { lines: [], total: 0 };
    this.#runs.delete(line.runId);
    this.#runs.set(line.runId, held);
    held.total += 1;
    held.lines.push({ number: held.total, line: { ...line, text: line.text.slice(0, TEXT_CHARS_MAX) }, workerId });
    // Cut in halves, so that a long log is not moved with each line.
    if (held.lines.length >= 2 * LINES_MAX) held.lines = held.lines.slice(-LINES_MAX);
    for (const oldest of this.#runs.keys()) {
      if (this.#runs.size <= RUNS_MAX) break;
      this.#runs.delete(oldest);
    }
  }

  of(runId: string): { readonly lines: readonly HeldLine[]; readonly dropped: number } {
    const { lines = [], total = 0 } = this.#runs.get(runId) ?? {};
    const held = lines.slice(-LINES_MAX);
    return { lines: held, dropped: total - held.length };
  }
}
