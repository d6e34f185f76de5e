/** The public door of `coordinator/api`: the gRPC server that speaks for a node, whether it leads or stands by, and the views that it answers with. */
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js';
import { AlumnusError } from '../../proto/errors.ts';
import { OperatorServiceService } from '../../proto/gen/alumnus/v1/operator.ts';
import { WorkerServiceService } from '../../proto/gen/alumnus/v1/worker.ts';
import type { ObjectStore } from '../../store/index.ts';
import type { Traces } from '../../telemetry/index.ts';
import type { Leading } from '../node.ts';
import { openAccess, type Access } from '../access.ts';
import { Authority } from './authority.ts';
import { operatorService } from './operator-service.ts';
import { traced } from './traced.ts';
import { addWellKnown } from './well-known.ts';
import { workerService } from './worker-service.ts';

export { runView, statusView, summaryOf, taskViewOf, workerView } from './views.ts';

/** Views of long runs and label stages of many shards stay far below; anything larger is not of ours. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Who holds a connection open for days is sent to a new one now and then, so that what stands between (a balancer, a name that moved) has its say. Calls under way
 * keep the old one until they are done, however long: a reconcile may take hours, and a registration's tars begin anew with its call.
 */
const CONNECTION_AGE_MS = 3_600_000;
/** A caller whose machine is gone without a word is noticed after both together; one that is only slow isn't. */
const PING_EVERY_MS = 20_000;
const PING_MS_MAX = 20_000;

export { onDefect } from './grpc.ts';

export interface ServeOptions {
  readonly leading: Leading;
  readonly store: ObjectStore;
  readonly storeUrl: string;
  readonly listen: string;
  readonly version: string;
  /** Default: whoever reaches it operates it. */
  readonly access?: Access;
  /** PEM; absent: no TLS. `clientCa`: callers must show a certificate of this authority. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer; readonly clientCa?: Buffer } | undefined;
  /** Where submissions are told as spans. */
  readonly traces?: Traces | undefined;
  /** Default CONNECTION_AGE_MS. */
  readonly connectionAgeMs?: number;
}

export interface ApiServer {
  /** `host:port` that is listened on. */
  readonly address: string;
  /** What its health says from now on: whether this coordinator leads. Not before that is said. */
  leads(leading: boolean): void;
  close(): Promise<void>;
}

/** @throws AlumnusError PORT_IN_USE naming the address. */
export async function serve(options: ServeOptions): Promise<ApiServer> {
  const { leading, store, storeUrl, listen, version, traces, access = openAccess, tls, connectionAgeMs = CONNECTION_AGE_MS } = options;
  const server = new Server({
    ...(traces === undefined ? {} : { interceptors: [traced(traces)] }),
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX, 'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
    // Linux would let two coordinators share the port, and each worker would find either.
    'grpc.so_reuseport': 0,
    'grpc.max_connection_age_ms': connectionAgeMs,
    'grpc.keepalive_time_ms': PING_EVERY_MS, 'grpc.keepalive_timeout_ms': PING_MS_MAX,
  });
  server.addService(WorkerServiceService, workerService(leading, storeUrl, new Authority(access)));
  server.addService(OperatorServiceService, operatorService(leading, store, storeUrl, version, access));
  const { leads } = addWellKnown(server, [OperatorServiceService, WorkerServiceService]);
  // A port that can't be had is told once, by our own error; whoever asks the library to speak still hears it.
  const quiet = process.env.GRPC_VERBOSITY === undefined && process.env.GRPC_NODE_VERBOSITY === undefined;
  if (quiet) setLogVerbosity(logVerbosity.NONE);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, credentialsOf(tls), (error, bound) => {
      if (error === null) resolve(bound);
      else if (/EADDRINUSE|address already in use/i.test(error.message)) reject(new AlumnusError('PORT_IN_USE', 'another program listens there', { where: listen, cause: error }));
      else reject(new AlumnusError('USAGE', `cannot listen: ${error.message}`, { where: listen, cause: error }));
    });
  }).finally(() => {
    if (quiet) setLogVerbosity(logVerbosity.ERROR);
  });
  return {
    address: `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`,
    leads,
    close: () => new Promise((resolve) => {
      // Who watches is told before the connection ends.
      leads(false);
      const forced = setTimeout(() => {
        server.forceShutdown();
        resolve();
      }, 500);
      server.tryShutdown(() => {
        clearTimeout(forced);
        resolve();
      });
    }),
  };
}

/** @throws AlumnusError USAGE */
function credentialsOf(tls: ServeOptions['tls']): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  try {
    return ServerCredentials.createSsl(tls.clientCa ?? null, [{ cert_chain: tls.cert, private_key: tls.key }], tls.clientCa !== undefined);
  } catch (thrown) {
    throw new AlumnusError('USAGE', `certificate and key cannot be used: ${thrown instanceof Error ? thrown.message : String(thrown)}; PEM is expected, and a key that belongs to its certificate`, { where: '--tls-cert', cause: thrown });
  }
}
