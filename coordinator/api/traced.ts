/**
 * A submission in a trace: the span between the caller's and the run's. Where the caller says a span of the run's own trace (as our command line does), it is the parent;
 * one of another trace is linked, since a run's trace is named by the run. Not for: other calls, which would be thousands of spans that say nothing of a run.
 */
import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js';
import { OperatorServiceService, type SubmitRunRequest, type SubmitRunResponse } from '../../proto/gen/alumnus/v1/operator.ts';
import { acceptSpan, runSpan, spanOfTraceparent, TRACEPARENT } from '../../proto/trace.ts';
import type { Traces } from '../../telemetry/index.ts';

export function traced(traces: Traces): ServerInterceptor {
  return ({ path }, call) => {
    if (path !== OperatorServiceService.submitRun.path) return new ServerInterceptingCall(call);
    const startMs = Date.now();
    let [caller, runId] = ['', ''];
    return new ServerInterceptingCall(call, {
      start: (next) => next({
        onReceiveMetadata(metadata, more) {
          caller = String(metadata.get(TRACEPARENT)[0] ?? '');
          more(metadata);
        },
        onReceiveMessage(request: SubmitRunRequest, more) {
          ({ runId } = request);
          more(request);
        },
      }),
      sendMessage(response: SubmitRunResponse, next) {
        ({ runId } = response);
        next(response);
      },
      sendStatus({ code, details, ...rest }, next) {
        const isDone = code === status.OK;
        const by = spanOfTraceparent(caller);
        const isOfRun = by !== undefined && by.traceId === runSpan(runId).traceId;
        traces.ended({
          name: 'SubmitRun', kind: 'server', startMs, endMs: Date.now(), links: by === undefined || isOfRun ? [] : [by], parent: isOfRun ? by : undefined,
          // One that is refused is not what the run is of.
          ...(isDone ? { ids: acceptSpan(runId) } : {}), error: isDone ? undefined : details,
          attributes: { 'rpc.system': 'grpc', 'rpc.service': 'alumnus.v1.OperatorService', 'rpc.method': 'SubmitRun', 'rpc.grpc.status_code': code, 'alumnus.run': runId === '' ? undefined : runId },
        });
        next({ code, details, ...rest });
      },
    });
  };
}
