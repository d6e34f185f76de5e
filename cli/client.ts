/**
 * The operator's calls as promises. A failure comes out as the `AlumnusError` that the coordinator threw, rebuilt from
 * its code, place and sentence; a coordinator that does not answer as UNREACHABLE naming its address.
 *
 * Invariants:
 *  1. A standby sends the call on to whoever leads. Where several coordinators are named, or one was sent on, a call looks
 *     for the leader for SEEK_MS_MAX before it gives up; one address that doesn't answer is told at once.
 *  2. What changes something may be said twice and is done once: a run's id is chosen here, so that a second submission
 *     meets the first; a second pause meets a paused run. Only an id that we chose, or a state that was asked for, is taken for ours.
 *  3. `watch` and `index` go on with another leader once one has answered; `index` asks it only for tars that are not done.
 */
import { randomBytes } from 'node:crypto';
import { connectivityState, type CallOptions, type ClientReadableStream, type ClientUnaryCall, Metadata, type ServiceError } from '@grpc/grpc-js';
import { Addresses, fromStatus, isAway as isElsewhere } from '../proto/call.ts';
import { accessTo } from '../proto/credentials.ts';
import { AlumnusError } from '../proto/errors.ts';
import {
  OperatorServiceClient, type CollectGarbageResponse, type EventView, type ExplainTaskResponse, type GetRunRequest, type GetStatusResponse, type IndexTarsProgress, type IndexTarsRequest, type ListEventsRequest, type ListEventsResponse, type ListLogsRequest, type ListLogsResponse, type ListRunsResponse, type ListWorkersResponse, type ReconcileResponse, type ReviewLabelsRequest, type RunView, type SubmitRunResponse, type WorkerView,
} from '../proto/gen/alumnus/v1/operator.ts';
import { isTraced, submitSpan, TRACEPARENT, traceparentOf } from '../proto/trace.ts';
import { parseRecipe } from '../recipe/index.ts';
import type { Connection } from './connection.ts';
import { pause } from './pause.ts';

/** Reads answer from memory; a longer silence is a coordinator that hangs. */
const CALL_MS = 10_000;
/** Submitting reads manifests from the object store, which may be far away. */
const SUBMIT_MS = 60_000;
/** Reads every record and output that the journal lacks. */
const RECONCILE_MS = 24 * 3600 * 1000;
/** The view of a run names every task of a stage: far beyond the 4 MiB that gRPC allows by default. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
/** How long a watch waits for a coordinator that is being restarted. */
const AWAY_MS_MAX = 60_000;
const RECONNECT_MS = 500;
/** An election takes a second or three. */
const SEEK_MS_MAX = 10_000;
const SEEK_PAUSE_MS_MAX = 400;
/** Tars that a leader holds of one registration: some hundred bytes each, and a message of a megabyte or two. */
const INDEX_TARS_MAX = 10_000;
/** Among several coordinators, one that takes this long to connect is passed by for now; and one that stands still is noticed after twice PING_MS. */
const CONNECT_MS_MAX = 1_000;
const PING_MS = 2_000;

/** A leader without its journal is about to lead no more. */
const isAway = (error: unknown): error is AlumnusError => error instanceof AlumnusError && (isElsewhere(error) || error.code === 'JOURNAL_UNREACHABLE');
const isConflict = (error: unknown): boolean => error instanceof AlumnusError && error.code === 'RUN_CONFLICT';

/** The state of a run that changes no more. */
export const hasEnded = (view: RunView): boolean => ['succeeded', 'failed', 'cancelled'].includes(view.summary?.state ?? '');

export interface WatchOptions {
  readonly signal: AbortSignal;
  /** Told when the coordinator is lost and when it is back. */
  readonly onAway?: (away: boolean) => void;
}

export interface BudgetLimits {
  readonly deviceHours?: number;
  readonly wallHours?: number;
}

export interface Operator {
  readonly address: string;
  status(timeoutMs?: number): Promise<GetStatusResponse>;
  /** @param project absent: the default one */
  submit(recipe: string, runId: string, project?: string): Promise<SubmitRunResponse>;
  runs(): Promise<ListRunsResponse>;
  run(runId: string): Promise<RunView>;
  /** Views until the run has ended, the last one included. */
  watch(runId: string, options: WatchOptions): AsyncGenerator<RunView>;
  pause(runId: string, reason: string): Promise<RunView>;
  resume(runId: string, reason: string): Promise<RunView>;
  /** Once what is under way is finished. */
  cancel(runId: string, reason: string): Promise<RunView>;
  kill(runId: string, reason: string): Promise<RunView>;
  retry(runId: string): Promise<RunView>;
  /** @param iteration whose model; absent: the one that waits for a decision */
  promote(runId: string, reason: string, iteration: number | undefined): Promise<RunView>;
  rollBack(runId: string, reason: string, iteration: number | undefined): Promise<RunView>;
  /** @param cordon `cordoned`, `draining`; empty: it takes work again */
  cordon(workerId: string, cordon: '' | 'cordoned' | 'draining'): Promise<WorkerView>;
  /** @param task an id; or a stage of the run, which is named then. @param runId empty: any run's task */
  explainTask(runId: string, task: string): Promise<ExplainTaskResponse>;
  /** A run's facts after a number, from 1 on, at most 1,000. */
  eventsAfter(runId: string, after: number, max: number): Promise<EventView[]>;
  /** What was logged about a run, as far as the leader holds it. */
  logs(request: Partial<ListLogsRequest> & { readonly runId: string }): Promise<ListLogsResponse>;
  /** @param runId empty: of all runs */
  newestEvents(runId: string, max: number): Promise<EventView[]>;
  /** Limits in hours, 0: none; what is absent stays. */
  budget(runId: string, limits: BudgetLimits): Promise<RunView>;
  /** Labels that a person gave. */
  review(request: ReviewLabelsRequest): Promise<RunView>;
  /** @param runId empty for every run in the bucket. */
  reconcile(runId: string, apply: boolean): Promise<ReconcileResponse>;
  /** @param keepLabels of so many last iterations of ended runs; undefined: of all */
  collectGarbage(apply: boolean, keepLabels: number | undefined): Promise<CollectGarbageResponse>;
  workers(): Promise<ListWorkersResponse>;
  /** Has workers read tars, until all are done. `done` holds places in the list. @throws AlumnusError that of a tar that could not be read */
  index(request: IndexTarsRequest, options: WatchOptions): AsyncGenerator<IndexTarsProgress>;
  close(): void;
}

type Unary<Request, Response> = (
  request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** As a coordinator would choose it; empty where the recipe doesn't read, which the coordinator then says. */
function chooseRunId(recipe: string): string {
  try {
    return `${parseRecipe(recipe).name}-${randomBytes(3).toString('hex')}`;
  } catch {
    return '';
  }
}

const isIn = (...states: string[]) => (view: RunView): boolean => states.includes(view.summary?.state ?? '');

/** @throws AlumnusError USAGE */
export function connect(connection: Connection): Operator {
  const addresses = new Addresses(connection.address);
  const several = addresses.text.includes(',');
  const clients = new Map<string, OperatorServiceClient>();
  const clientOf = (address: string): OperatorServiceClient => {
    const known = clients.get(address);
    if (known !== undefined) return known;
    // Of whoever is asked, a leader that a standby names too: a token goes nowhere in the clear.
    const { credentials, options } = accessTo(address, connection);
    const client = new OperatorServiceClient(address, credentials, {
      ...options,
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      'grpc.keepalive_time_ms': PING_MS,
      'grpc.keepalive_timeout_ms': PING_MS,
    });
    clients.set(address, client);
    return client;
  };
  const once = <Request, Response>(method: (client: OperatorServiceClient) => Unary<Request, Response>, request: Request, timeoutMs: number, metadata: Metadata): Promise<Response> =>
    new Promise((resolve, reject) => {
      const address = addresses.current;
      const client = clientOf(address);
      const sent = method(client).call(client, request, metadata, { deadline: Date.now() + timeoutMs }, (error, response) => {
        clearTimeout(connecting);
        if (error !== null) return reject(fromStatus(error, address, connection.tls !== undefined));
        addresses.answered();
        resolve(response);
      });
      const connecting = !several ? undefined : setTimeout(() => {
        if (client.getChannel().getConnectivityState(false) !== connectivityState.READY) sent.cancel();
      }, CONNECT_MS_MAX);
    });

  /** Asks whoever leads. `repeated` is told when the call is made again: an earlier one may have been heard. */
  async function call<Request, Response>(method: (client: OperatorServiceClient) => Unary<Request, Response>, request: Request, timeoutMs = CALL_MS, repeated: () => void = () => undefined, metadata = new Metadata()): Promise<Response> {
    const untilMs = performance.now() + SEEK_MS_MAX;
    let sentOn = false;
    for (;;) {
      try {
        return await once(method, request, timeoutMs, metadata);
      } catch (thrown) {
        if (!isAway(thrown)) throw thrown;
        sentOn ||= thrown.code === 'NOT_LEADER' || thrown.code === 'JOURNAL_UNREACHABLE';
        if (!(several || sentOn) || performance.now() > untilMs) throw thrown;
        // A standby that names another leader heard nothing to do; any other may have, and so may a leader that is gone.
        if (thrown.code !== 'NOT_LEADER' || thrown.where === '') repeated();
        if (!addresses.failed(thrown)) continue;
      }
      await pause(SEEK_PAUSE_MS_MAX * (0.5 + Math.random() / 2), new AbortController().signal);
    }
  }

  async function submit(recipe: string, wished: string, project?: string): Promise<SubmitRunResponse> {
    const runId = wished === '' ? chooseRunId(recipe) : wished;
    const metadata = new Metadata();
    if (isTraced(process.env) && runId !== '') metadata.set(TRACEPARENT, traceparentOf(submitSpan(runId)));
    let again = false;
    try {
      return await call((client) => client.submitRun, { recipe, runId, project }, SUBMIT_MS, () => {
        again = true;
      }, metadata);
    } catch (thrown) {
      // Nobody else has an id that was drawn here.
      if (again && wished === '' && runId !== '' && isConflict(thrown)) return { runId, warnings: [] };
      throw thrown;
    }
  }

  /** @param done told by the run where an answer was lost: whether it is as this command asks */
  async function steer<Request extends { runId: string }>(method: (client: OperatorServiceClient) => Unary<Request, RunView>, request: Request, done: (view: RunView) => boolean): Promise<RunView> {
    let again = false;
    try {
      return await call(method, request, CALL_MS, () => {
        again = true;
      });
    } catch (thrown) {
      if (!again || !isConflict(thrown)) throw thrown;
      const view = await call<GetRunRequest, RunView>((client) => client.getRun, { runId: request.runId });
      if (!done(view)) throw thrown;
      return view;
    }
  }

  async function* stream<Answer>(open: (client: OperatorServiceClient) => ClientReadableStream<Answer>, signal: AbortSignal): AsyncGenerator<Answer> {
    const address = addresses.current;
    const answers = open(clientOf(address));
    // An aborted stream ends in an error of its own; the loop below has ended by then.
    answers.on('error', () => undefined);
    const stop = (): void => answers.cancel();
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const answer of answers) yield answer as Answer;
    } catch (thrown) {
      throw fromStatus(thrown, address, connection.tls !== undefined);
    } finally {
      signal.removeEventListener('abort', stop);
      answers.cancel();
    }
  }

  /** The answers of one leader after another, until one is the last. */
  async function* lasting<Answer>(open: (client: OperatorServiceClient) => ClientReadableStream<Answer>, isLast: (answer: Answer) => boolean, { signal, onAway }: WatchOptions): AsyncGenerator<Answer> {
    let seen = false;
    let toldAway = false;
    let awaySince: number | undefined;
    while (!signal.aborted) {
      try {
        for await (const answer of stream(open, signal)) {
          if (toldAway) onAway?.(false);
          toldAway = false;
          awaySince = undefined;
          seen = true;
          addresses.answered();
          yield answer;
          if (isLast(answer)) return;
        }
        // The stream ended before its time: the coordinator is going.
        awaySince ??= Date.now();
      } catch (thrown) {
        if (signal.aborted) return;
        if (!isAway(thrown) || (!seen && !several && thrown.code === 'UNREACHABLE')) throw thrown;
        const justAnswered = seen && awaySince === undefined;
        awaySince ??= Date.now();
        if (Date.now() - awaySince > AWAY_MS_MAX) throw thrown;
        // A coordinator that sends us to another is no news.
        if (!addresses.failed(thrown)) continue;
        // A connection that ended, for its age or with its coordinator, is no news either: where the next call is heard, nobody was away.
        if (!justAnswered && !toldAway) {
          onAway?.(true);
          toldAway = true;
        }
      }
      await pause(RECONNECT_MS, signal);
    }
  }

  async function* index({ location, labeled, tars }: IndexTarsRequest, options: WatchOptions): AsyncGenerator<IndexTarsProgress> {
    for (let begin = 0; begin < tars.length && !options.signal.aborted; begin += INDEX_TARS_MAX) {
      const left = new Map(tars.slice(begin, begin + INDEX_TARS_MAX).map((tar, at) => [begin + at, tar]));
      let asked: number[] = [];
      const open = (client: OperatorServiceClient): ClientReadableStream<IndexTarsProgress> => {
        asked = [...left.keys()];
        return client.indexTars({ location, labeled, tars: [...left.values()] });
      };
      for await (const answer of lasting(open, () => left.size === 0, options)) {
        const done = answer.done.map((at) => asked[at] ?? -1);
        for (const at of done) left.delete(at);
        yield { ...answer, done };
      }
    }
  }

  return {
    get address() {
      return addresses.current;
    },
    status: (timeoutMs) => once((client) => client.getStatus, {}, timeoutMs ?? CALL_MS, new Metadata()),
    submit,
    runs: () => call((client) => client.listRuns, {}),
    run: (runId) => call((client) => client.getRun, { runId }),
    watch: (runId, options) => lasting((client) => client.watchRun({ runId }), hasEnded, options),
    index,
    pause: (runId, reason) => steer((client) => client.pauseRun, { runId, reason }, isIn('paused')),
    resume: (runId, reason) => steer((client) => client.resumeRun, { runId, reason }, isIn('running')),
    cancel: (runId, reason) => steer((client) => client.cancelRun, { runId, reason }, isIn('cancelled', 'cancelling')),
    kill: (runId, reason) => steer((client) => client.killRun, { runId, reason }, isIn('cancelled')),
    retry: (runId) => call((client) => client.retryRun, { runId, reason: '' }),
    promote: (runId, reason, iteration) => call((client) => client.promoteModel, { runId, reason, iteration }),
    rollBack: (runId, reason, iteration) => call((client) => client.rollBackRun, { runId, reason, iteration }),
    cordon: (workerId, cordon) => call((client) => client.cordonWorker, { workerId, cordon }),
    explainTask: (runId, task) => call((client) => client.explainTask, { runId, task }),
    eventsAfter: async (runId, after, max) => (await call<ListEventsRequest, ListEventsResponse>((client) => client.listEvents, { runId, after, max, newest: false })).events,
    logs: (request) => call((client) => client.listLogs, { after: 0, max: 0, taskId: '', workerId: '', newest: false, ...request }),
    newestEvents: async (runId, max) => (await call<ListEventsRequest, ListEventsResponse>((client) => client.listEvents, { runId, after: 0, max, newest: true })).events,
    budget: (runId, limits) => call((client) => client.changeBudget, { runId, ...limits }),
    review: (request) => steer((client) => client.reviewLabels, request, (view) => view.reviews.at(-1)?.labels?.sha256 === request.labels?.sha256),
    reconcile: (runId, apply) => call((client) => client.reconcile, { runId, apply }, RECONCILE_MS),
    collectGarbage: (apply, keepLabels) => call((client) => client.collectGarbage, { apply, keepLabels }, RECONCILE_MS),
    workers: () => call((client) => client.listWorkers, {}),
    close: () => {
      for (const client of clients.values()) client.close();
    },
  };
}

/** Runs `body` with a connection that is closed afterwards, so that the process can end. */
export async function withOperator<Result>(connection: Connection, body: (operator: Operator) => Promise<Result>): Promise<Result> {
  const operator = connect(connection);
  try {
    return await body(operator);
  } finally {
    operator.close();
  }
}
