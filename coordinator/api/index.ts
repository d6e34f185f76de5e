/** The public door of `coordinator/api`: the gRPC server that speaks for a node, whether it leads or stands by. */
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js';
import { AlumnusError } from '../../proto/errors.ts';
import { OperatorServiceService } from '../../proto/gen/alumnus/v1/operator.ts';
import { WorkerServiceService } from '../../proto/gen/alumnus/v1/worker.ts';
import type { ObjectStore } from '../../store/index.ts';
import type { Leading } from '../node.ts';
import { operatorService } from './operator-service.ts';
import { workerService } from './worker-service.ts';

/** Views of long runs and label stages of many shards stay far below; anything larger is not of ours. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

export interface ApiServer {
  /** `host:port` that is listened on. */
  readonly address: string;
  close(): Promise<void>;
}

/** @throws AlumnusError PORT_IN_USE naming the address. */
export async function serve(options: { leading: Leading; store: ObjectStore; storeUrl: string; listen: string; version: string }): Promise<ApiServer> {
  const { leading, store, storeUrl, listen, version } = options;
  const server = new Server({
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX, 'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
    // Linux would let two coordinators share the port, and each worker would find either.
    'grpc.so_reuseport': 0,
  });
  server.addService(WorkerServiceService, workerService(leading, storeUrl));
  server.addService(OperatorServiceService, operatorService(leading, store, storeUrl, version));
  // A port that can't be had is told once, by our own error; whoever asks the library to speak still hears it.
  const quiet = process.env.GRPC_VERBOSITY === undefined && process.env.GRPC_NODE_VERBOSITY === undefined;
  if (quiet) setLogVerbosity(logVerbosity.NONE);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else if (/EADDRINUSE|address already in use/i.test(error.message)) reject(new AlumnusError('PORT_IN_USE', 'another program listens there', { where: listen, cause: error }));
      else reject(new AlumnusError('USAGE', `cannot listen: ${error.message}`, { where: listen, cause: error }));
    });
  }).finally(() => {
    if (quiet) setLogVerbosity(logVerbosity.ERROR);
  });
  return {
    address: `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`,
    close: () => new Promise((resolve) => {
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
