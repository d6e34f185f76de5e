/** What a trace says of an attempt: one span, of the stage that its task is of. Not for: sending it (telemetry). */
import { isBeside } from '../proto/subjects.ts';
import { runSpan, stageSpan } from '../proto/trace.ts';
import { stageName } from '../proto/stages.ts';
import type { EndedSpan } from '../telemetry/index.ts';
import type { EndedAttempt } from './lease-loop/index.ts';

/** A task that trains or measures beside the stages is of the run itself; a tar that is indexed, of no run, is a trace of its own. */
export function attemptSpan({ task, leaseId, attempt, outcome, error, beganMs, endedMs }: EndedAttempt, workerId: string): EndedSpan {
  const kind = task.spec?.$case ?? 'none';
  const parent = kind === 'index' ? undefined : isBeside(task) ? runSpan(task.runId) : stageSpan(task.runId, task);
  return {
    name: `${kind} ${task.subject}`, parent, startMs: beganMs, endMs: endedMs,
    attributes: {
      'alumnus.run': task.runId, 'alumnus.task': task.taskId, 'alumnus.kind': kind, 'alumnus.iteration': task.iteration, 'alumnus.stage': stageName(task.stage), 'alumnus.subject': task.subject,
      'alumnus.try': task.try, 'alumnus.worker': workerId, 'alumnus.lease': `${leaseId.term}.${leaseId.counter}`, 'alumnus.attempt': attempt, 'alumnus.outcome': outcome, 'alumnus.error': error?.code,
    },
    // What is nobody's failure is none here.
    error: outcome === 'failed' || outcome === 'refused' || outcome === 'lost' ? error?.sentence : undefined,
  };
}
