/** Between our functions and gRPC: an async function as a unary handler. */
import type { handleUnaryCall, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { toAlumnusError } from '../../proto/errors.ts';
import { statusOf } from '../../proto/status.ts';

export function unary<Request, Response>(handle: (request: Request, call: ServerUnaryCall<Request, Response>) => Response | Promise<Response>): handleUnaryCall<Request, Response> {
  return (call, callback: sendUnaryData<Response>) => {
    Promise.resolve()
      .then(() => handle(call.request, call))
      // Two arms, not then and catch: what the callback itself throws must not call it a second time.
      .then((response) => callback(null, response), (thrown: unknown) => {
        const error = toAlumnusError(thrown);
        if (error.code === 'INTERNAL') process.stderr.write(`${error.stack ?? error.message}\n`);
        callback(statusOf(error));
      });
  };
}
