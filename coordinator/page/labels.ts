/**
 * What labels of an iteration look like, asked of a program of the worker's: this process reads no label, tally or image. Answers are kept by what they are made of; few programs run at
 * a time, and few questions wait.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { askProgram } from '../../proto/ask.ts';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { RunHistory } from '../../proto/gen/alumnus/v1/history.ts';
import { API_VERSION } from '../../proto/machine.ts';
import { historyOf, type RunState } from '../run/index.ts';
import { Encoded } from './encoded.ts';

export type LabelQuestion = 'histogram' | 'gallery';

/** Each is a process that reads tables and images. */
const PROGRAMS_MAX = 2;
const WAITING_MAX = 16;
/** A gallery of large images is some megabytes. */
const KEPT_MAX = 24;
/** While shards are still being labeled, a histogram is as old as this at most. */
const UNFINISHED_MS = 10_000;
const kinds = { histogram: 'LabelHistogram', gallery: 'LabelGallery' } as const;

interface Kept {
  readonly answer: Promise<Encoded>;
  /** Of what isn't finished: until when it is good enough. */
  readonly untilMs: number;
}

export class LabelAnswers {
  readonly #storeUrl: string;
  readonly #kept = new Map<string, Kept>();
  readonly #stopping = new AbortController();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(storeUrl: string) {
    this.#storeUrl = storeUrl;
  }

  /** @throws AlumnusError USAGE (no such labels), PAGE_BUSY, and what the program says */
  ask(run: RunState, iteration: number, question: LabelQuestion): Promise<Encoded> {
    const state = run.iterations[iteration];
    if (state === undefined || state.labels.size === 0) throw new AlumnusError('USAGE', 'there are no labels of this iteration', { where: `${run.runId}/${iteration}` });
    const of = state.selection?.selection?.sha256;
    const key = `${question}/${run.runId}/${iteration}/${of ?? 'unfinished'}`;
    const before = this.#kept.get(key);
    if (before !== undefined && Date.now() < before.untilMs) return before.answer;
    const answer = this.#run(run, iteration, question);
    this.#kept.delete(key);
    this.#kept.set(key, { answer, untilMs: of === undefined ? Date.now() + UNFINISHED_MS : Infinity });
    // A failure is told to who asked, and tried again by who asks next.
    answer.catch(() => {
      if (this.#kept.get(key)?.answer === answer) this.#kept.delete(key);
    });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= KEPT_MAX) break;
      this.#kept.delete(oldest);
    }
    return answer;
  }

  close(): void {
    this.#stopping.abort();
  }

  async #run(run: RunState, iteration: number, question: LabelQuestion): Promise<Encoded> {
    await this.#turn();
    try {
      const path = join(import.meta.dirname, '../../worker/labels.js');
      if (!existsSync(path)) throw new AlumnusError('USAGE', 'the worker is not built: run `npm run build`', { where: path });
      let told: unknown;
      await askProgram({
        path, title: 'worker/labels', arguments: ['--store', this.#storeUrl], request: { history: RunHistory.toJSON(historyOf(run)), iteration, question }, signal: this.#stopping.signal,
        onLine: (line) => {
          told = line[question] ?? told;
        },
      });
      invariant(typeof told === 'object' && told !== null, 'the program answers before it ends');
      return new Encoded(JSON.stringify({ apiVersion: API_VERSION, kind: kinds[question], ...told }));
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= PROGRAMS_MAX) {
      if (this.#waiting.length >= WAITING_MAX) throw new AlumnusError('PAGE_BUSY', `${WAITING_MAX} questions about labels wait already`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
  }
}
