/**
 * What the coordinator tells by itself: its documents as they are now, kept up by the stream of what changes. One stream a page, of the fleet and of the run that is looked at.
 * Invariant: a document that is shown is one that the coordinator had as a whole, or the last one before the connection was lost, which is said.
 */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { CallerAnswer, ErrorAnswer, Patch, RoleName, StreamName, SummaryAnswer } from '../proto/page.ts';
import { ApiError, ask, events, part } from './api.ts';

/** As often as the coordinator says that it is there; after three of them in silence it isn't. */
const SILENCE_MS_MAX = 16_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 5_000;

export type Connection = { readonly state: 'connecting' | 'live' } | { readonly state: 'lost'; readonly error: ApiError };
type Topic = StreamName | 'connection' | 'caller';

class Live {
  connection: Connection = { state: 'connecting' };
  caller: CallerAnswer | undefined;
  /** The coordinator's clock less ours. */
  clockAheadMs = 0;
  readonly #documents = new Map<StreamName, Map<string, unknown>>();
  readonly #versions = new Map<Topic, number>();
  readonly #listeners = new Map<Topic, Set<() => void>>();
  #run: string | undefined;
  #abort = new AbortController();
  #started = false;

  fields(name: StreamName): ReadonlyMap<string, unknown> | undefined {
    return this.#documents.get(name);
  }

  /** Another number after each change. */
  version(topic: Topic): number {
    return this.#versions.get(topic) ?? 0;
  }

  onChange(topic: Topic, listener: () => void): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Looks at this run from now on; undefined: at none. */
  look(run: string | undefined): void {
    if (this.#started && run === this.#run) return;
    this.#run = run;
    this.#started = true;
    for (const name of ['run', 'shards', 'curves'] as const) this.#drop(name);
    this.restart();
  }

  /** With another token, say. */
  restart(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    void this.#keep(this.#abort.signal, this.#run);
  }

  async #keep(signal: AbortSignal, run: string | undefined): Promise<void> {
    for (let waitMs = RETRY_MS_MIN; !signal.aborted; waitMs = Math.min(RETRY_MS_MAX, 2 * waitMs)) {
      const silence = new AbortController();
      const either = AbortSignal.any([signal, silence.signal]);
      let timer = setTimeout(() => silence.abort(), SILENCE_MS_MAX);
      let error = new ApiError({ code: 'UNREACHABLE', message: 'the connection to the coordinator was lost', where: '', remedy: 'It is tried again.' });
      try {
        this.caller = await ask<CallerAnswer>('whoami', either);
        this.#tell('caller');
        for await (const { name, data } of events(run === undefined ? 'stream' : `stream?run=${part(run)}`, either)) {
          clearTimeout(timer);
          timer = setTimeout(() => silence.abort(), SILENCE_MS_MAX);
          if (name === 'failed') {
            error = new ApiError(JSON.parse(data) as ErrorAnswer);
            break;
          }
          if (name === 'beat') this.clockAheadMs = (JSON.parse(data) as { nowMs: number }).nowMs - Date.now();
          else this.#take(name as StreamName, JSON.parse(data) as Patch);
          waitMs = RETRY_MS_MIN;
          this.#connected({ state: 'live' });
        }
      } catch (thrown) {
        if (thrown instanceof ApiError) error = thrown;
      } finally {
        clearTimeout(timer);
        silence.abort();
      }
      if (signal.aborted) return;
      this.#connected({ state: 'lost', error });
      // A token, another run, or a person's reload: nothing that waiting brings.
      if (['ACCESS_UNAUTHENTICATED', 'ACCESS_REFUSED', 'RUN_NOT_FOUND'].includes(error.code)) return;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  #take(name: StreamName, { whole, set, gone }: Patch): void {
    const fields = whole === true ? new Map<string, unknown>() : this.#documents.get(name) ?? new Map<string, unknown>();
    for (const [key, value] of Object.entries(set)) fields.set(key, value);
    for (const key of gone) fields.delete(key);
    this.#documents.set(name, fields);
    this.#tell(name);
  }

  #drop(name: StreamName): void {
    this.#documents.delete(name);
    this.#tell(name);
  }

  #connected(connection: Connection): void {
    if (connection.state === 'live' && this.connection.state === 'live') return;
    this.connection = connection;
    this.#tell('connection');
  }

  #tell(topic: Topic): void {
    this.#versions.set(topic, this.version(topic) + 1);
    for (const listener of [...this.#listeners.get(topic) ?? []]) listener();
  }
}

export const live = new Live();

function useTopic(topic: Topic): void {
  const [, redraw] = useState(0);
  useEffect(() => {
    redraw((times) => times + 1);
    return live.onChange(topic, () => redraw((times) => times + 1));
  }, [topic]);
}

/** Undefined until it is told. */
export function useFields(name: StreamName): ReadonlyMap<string, unknown> | undefined {
  useTopic(name);
  return live.fields(name);
}

/** What is dear to make of a document is made once a change. */
export function useMade<Made>(name: StreamName, make: (fields: ReadonlyMap<string, unknown> | undefined) => Made): Made {
  const fields = useFields(name);
  return useMemo(() => make(fields), [name, live.version(name)]);
}

export function useDocument<Shape>(name: StreamName): Shape | undefined {
  const fields = useFields(name);
  return fields === undefined ? undefined : (Object.fromEntries(fields) as Shape);
}

export function useConnection(): Connection {
  useTopic('connection');
  return live.connection;
}

export function useRole(project: string): RoleName | undefined {
  useTopic('caller');
  return live.caller?.roles[project];
}

/** What this caller may ask of a run now. */
export function useCommands(summary: SummaryAnswer | undefined): readonly string[] {
  const role = useRole(summary?.project ?? '');
  return role === 'operator' ? summary?.commands ?? [] : [];
}

/** The coordinator's clock, as it goes. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now + live.clockAheadMs;
}

export type Asked<Answer> = { readonly answer?: Answer; readonly error?: ApiError; readonly waits: boolean };

/** An answer to a question, asked again when the question or `again` is another one; the last answer stays meanwhile. Undefined: nothing is asked. */
export function useAnswer<Answer>(question: string | undefined, again: unknown = undefined): Asked<Answer> {
  const [asked, setAsked] = useState<{ question: string | undefined } & Asked<Answer>>({ question: undefined, waits: true });
  useEffect(() => {
    if (question === undefined) return undefined;
    const abort = new AbortController();
    ask<Answer>(question, abort.signal).then(
      (answer) => setAsked({ question, answer, waits: false }),
      (thrown: unknown) => {
        if (!abort.signal.aborted) setAsked({ question, error: thrown instanceof ApiError ? thrown : new ApiError({ code: 'INTERNAL', message: String(thrown), where: '', remedy: '' }), waits: false });
      },
    );
    return () => abort.abort();
  }, [question, again]);
  return asked.question === question ? asked : { waits: question !== undefined };
}
