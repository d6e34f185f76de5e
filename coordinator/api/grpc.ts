/** Between our functions and gRPC: an async function as a unary handler, and an error of our table as a status with its code and place in the metadata. */
import { Metadata, type handleUnaryCall, type sendUnaryData, type ServerUnaryCall, type StatusObject } from '@grpc/grpc-js';
import { errorTable, toAlumnusError, type AlumnusError } from '../../proto/errors.ts';

export function statusOf(error: AlumnusError): Partial<StatusObject> {
  const metadata = new Metadata();
  metadata.set('alumnus-code', error.code);
  // Metadata values are ASCII; a path may hold anything.
  metadata.set('alumnus-where', encodeURIComponent(error.where));
  return { code: errorTable[error.code].grpc, details: error.message, metadata };
}

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
