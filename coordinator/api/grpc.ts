/** Between our functions and gRPC: an async function as a unary handler. */
import type { handleUnaryCall, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { channel } from 'node:diagnostics_channel';
import { toAlumnusError } from '../../proto/errors.ts';
import { statusOf } from '../../proto/status.ts';

const defects = channel('alumnus:defect');

/** Tells what no caller can do anything about; without a listener it goes to stderr. */
export const onDefect = (heard: (error: Error) => void): void => defects.subscribe((error) => heard(error as Error));

export function unary<Request, Response>(handle: (request: Request, call: ServerUnaryCall<Request, Response>) => Response | Promise<Response>): handleUnaryCall<Request, Response> {
  return (call, callback: sendUnaryData<Response>) => {
    Promise.resolve()
      .then(() => handle(call.request, call))
      // Two arms, not then and catch: what the callback itself throws must not call it a second time.
      .then((response) => callback(null, response), (thrown: unknown) => {
        const error = toAlumnusError(thrown);
        if (error.code === 'INTERNAL' && defects.hasSubscribers) defects.publish(error);
        else if (error.code === 'INTERNAL') process.stderr.write(`${error.stack ?? error.message}\n`);
        callback(statusOf(error));
      });
  };
}
