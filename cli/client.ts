/**
 * The operator's calls as promises. A failure comes out as the `AlumnusError` that the coordinator threw, rebuilt from
 * its code, place and sentence; a coordinator that does not answer as UNREACHABLE naming its address.
 * Not for: retrying. Only `watch` reconnects, once it has seen the run, since a coordinator may be restarted meanwhile.
 */
import { credentials, status, type CallOptions, Metadata, type ServiceError } from '@grpc/grpc-js';
import { AlumnusError, isErrorCode } from '../proto/errors.ts';
import {
  OperatorServiceClient, type GetStatusResponse, type ListRunsResponse, type ListWorkersResponse, type ReconcileResponse, type RunView, type SubmitRunResponse,
} from '../proto/gen/alumnus/v1/operator.ts';
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

const text = (metadata: Metadata | undefined, key: string): string => {
  const value = metadata?.get(key)[0];
  return value === undefined ? '' : value.toString();
};

/** Metadata values are ASCII: a place, which may hold anything, travels percent-encoded. */
function place(metadata: Metadata | undefined): string {
  const encoded = text(metadata, 'alumnus-where');
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

const isServiceError = (thrown: unknown): thrown is ServiceError =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number' && 'details' in thrown;

export function fromServiceError(thrown: unknown, address: string): Error {
  if (!isServiceError(thrown)) return thrown instanceof Error ? thrown : new Error(String(thrown));
  const code = text(thrown.metadata, 'alumnus-code');
  if (isErrorCode(code)) return new AlumnusError(code, thrown.details, { where: place(thrown.metadata), cause: thrown });
  if (thrown.code === status.UNAVAILABLE) return new AlumnusError('UNREACHABLE', 'no coordinator answers there', { where: address, cause: thrown });
  if (thrown.code === status.DEADLINE_EXCEEDED) return new AlumnusError('TIMED_OUT', 'the coordinator did not answer in time', { where: address, cause: thrown });
  if (thrown.code === status.CANCELLED) return new AlumnusError('CANCELLED', 'the call was cancelled', { where: address, cause: thrown });
  if (thrown.code === status.UNIMPLEMENTED) return new AlumnusError('USAGE', 'what answers there is no coordinator, or one of another release', { where: address, cause: thrown });
  return new AlumnusError('INTERNAL', thrown.details, { where: address, cause: thrown });
}

const isAway = (error: unknown): boolean => error instanceof AlumnusError && (error.code === 'UNREACHABLE' || error.code === 'NOT_LEADER');

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
  submit(recipe: string, runId: string): Promise<SubmitRunResponse>;
  runs(): Promise<ListRunsResponse>;
  run(runId: string): Promise<RunView>;
  /** Views until the run has ended, the last one included. */
  watch(runId: string, options: WatchOptions): AsyncGenerator<RunView>;
  pause(runId: string, reason: string): Promise<RunView>;
  resume(runId: string, reason: string): Promise<RunView>;
  cancel(runId: string, reason: string): Promise<RunView>;
  /** Limits in hours, 0: none; what is absent stays. */
  budget(runId: string, limits: BudgetLimits): Promise<RunView>;
  /** @param runId empty for every run in the bucket. */
  reconcile(runId: string, apply: boolean): Promise<ReconcileResponse>;
  workers(): Promise<ListWorkersResponse>;
  close(): void;
}

type Unary<Request, Response> = (
  request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: Response) => void,
) => unknown;

export function connect(address: string): Operator {
  const client = new OperatorServiceClient(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1000,
  });

  const call = <Request, Response>(method: Unary<Request, Response>, request: Request, timeoutMs = CALL_MS): Promise<Response> =>
    new Promise((resolve, reject) => {
      method.call(client, request, new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
        if (error === null) resolve(response);
        else reject(fromServiceError(error, address));
      });
    });

  async function* stream(runId: string, signal: AbortSignal): AsyncGenerator<RunView> {
    const views = client.watchRun({ runId });
    // An aborted stream ends in an error of its own; the loop below has ended by then.
    views.on('error', () => undefined);
    const stop = (): void => views.cancel();
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const view of views) yield view as RunView;
    } catch (thrown) {
      throw fromServiceError(thrown, address);
    } finally {
      signal.removeEventListener('abort', stop);
      views.cancel();
    }
  }

  async function* watch(runId: string, { signal, onAway }: WatchOptions): AsyncGenerator<RunView> {
    let seen = false;
    let awaySince: number | undefined;
    while (!signal.aborted) {
      try {
        for await (const view of stream(runId, signal)) {
          if (awaySince !== undefined) onAway?.(false);
          awaySince = undefined;
          seen = true;
          yield view;
          if (hasEnded(view)) return;
        }
        // The stream ended before the run did: the coordinator is going.
        awaySince ??= Date.now();
      } catch (thrown) {
        if (signal.aborted) return;
        if (!seen || !isAway(thrown)) throw thrown;
        if (awaySince === undefined) onAway?.(true);
        awaySince ??= Date.now();
        if (Date.now() - awaySince > AWAY_MS_MAX) throw thrown;
      }
      await pause(RECONNECT_MS, signal);
    }
  }

  return {
    address,
    status: (timeoutMs) => call(client.getStatus, {}, timeoutMs),
    submit: (recipe, runId) => call(client.submitRun, { recipe, runId }, SUBMIT_MS),
    runs: () => call(client.listRuns, {}),
    run: (runId) => call(client.getRun, { runId }),
    watch,
    pause: (runId, reason) => call(client.pauseRun, { runId, reason }),
    resume: (runId, reason) => call(client.resumeRun, { runId, reason }),
    cancel: (runId, reason) => call(client.cancelRun, { runId, reason }),
    budget: (runId, limits) => call(client.changeBudget, { runId, ...limits }),
    reconcile: (runId, apply) => call(client.reconcile, { runId, apply }, RECONCILE_MS),
    workers: () => call(client.listWorkers, {}),
    close: () => client.close(),
  };
}

/** Runs `body` with a connection that is closed afterwards, so that the process can end. */
export async function withOperator<Result>(address: string, body: (operator: Operator) => Promise<Result>): Promise<Result> {
  const operator = connect(address);
  try {
    return await body(operator);
  } finally {
    operator.close();
  }
}
