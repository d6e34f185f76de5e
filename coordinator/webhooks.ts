/**
 * Tells people's systems what became of runs: a POST of JSON to each webhook of the run's project, by the coordinator that journalled it.
 * Tried again for a while where it is not taken; what a leader had not told when it ended is not told by the next one: who must not miss
 * anything reads the facts (`alumnus events`, or NATS). Not for: what is told in words (coordinator/run).
 * Invariants:
 *  1. Nothing waits for a webhook, and what waits to be told is bounded.
 *  2. What is posted holds no secret; it is signed where the access file names one.
 */
import { createHmac } from 'node:crypto';
import { API_VERSION } from '../proto/machine.ts';
import type { Event } from '../proto/gen/alumnus/v1/events.ts';
import { PROJECT_DEFAULT, type Access, type NoticeKind, type Webhook } from './access.ts';
import { tellFact } from './run/index.ts';

/** Waits before the second try, the third, and so on. */
const RETRY_MS: readonly number[] = [1_000, 5_000, 30_000, 120_000];
const ANSWER_MS_MAX = 10_000;
/** Posts under way or waiting; beyond it the newest are dropped, which the log says. */
const WAITING_MAX = 1_000;

const kindOf: Readonly<Partial<Record<NonNullable<Event['fact']>['$case'], NoticeKind>>> = {
  runPaused: 'paused', studentRefused: 'refused', runFailed: 'failed', runCancelled: 'cancelled', runSucceeded: 'done',
};

export interface WebhooksOptions {
  readonly access: Pick<Access, 'webhooksOf'>;
  readonly log: (line: string) => void;
  /** Default RETRY_MS. */
  readonly retryMs?: readonly number[];
}

export class Webhooks {
  readonly #options: WebhooksOptions;
  readonly #ending = new AbortController();
  #waiting = 0;

  constructor(options: WebhooksOptions) {
    this.#options = options;
  }

  /** @param project of the event's run; empty: the default one */
  tell(event: Event, project: string): void {
    const kind = event.fact === undefined ? undefined : kindOf[event.fact.$case];
    if (kind === undefined) return;
    const name = project === '' ? PROJECT_DEFAULT : project;
    const body = JSON.stringify({ apiVersion: API_VERSION, kind: 'Notice', notice: kind, runId: event.runId, project: name, at: new Date(event.atMs).toISOString(), text: `run ${event.runId}: ${tellFact(event).text}` });
    for (const hook of this.#options.access.webhooksOf(name)) if (hook.on.includes(kind)) void this.#post(hook, body, `${kind} of run ${event.runId}`);
  }

  close(): void {
    this.#ending.abort();
  }

  async #post(hook: Webhook, body: string, what: string): Promise<void> {
    const { log, retryMs = RETRY_MS } = this.#options;
    // A path may hold a secret; where it goes is told by its host.
    const { host } = new URL(hook.url);
    if (this.#waiting >= WAITING_MAX) return log(`webhook at ${host} is not told ${what}: ${WAITING_MAX} others wait`);
    this.#waiting += 1;
    try {
      for (let tries = 0; !this.#ending.signal.aborted; tries += 1) {
        const problem = await this.#try(hook, body);
        if (problem === undefined || this.#ending.signal.aborted) return;
        const waitMs = retryMs[tries];
        if (waitMs === undefined) return log(`webhook at ${host} was not told ${what}: ${problem}`);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, waitMs);
          this.#ending.signal.addEventListener('abort', () => {
            clearTimeout(timer);
            resolve();
          }, { once: true });
        });
      }
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Why it was not taken; undefined: it was. */
  async #try({ url, secret }: Webhook, body: string): Promise<string | undefined> {
    try {
      const answer = await fetch(url, {
        method: 'POST', body, redirect: 'error', signal: AbortSignal.any([this.#ending.signal, AbortSignal.timeout(ANSWER_MS_MAX)]),
        headers: { 'content-type': 'application/json', ...(secret === undefined ? {} : { 'x-alumnus-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` }) },
      });
      await answer.body?.cancel();
      return answer.ok ? undefined : `it answered ${answer.status}`;
    } catch (thrown) {
      return thrown instanceof Error ? (thrown.cause instanceof Error ? thrown.cause.message : thrown.message) : String(thrown);
    }
  }
}
