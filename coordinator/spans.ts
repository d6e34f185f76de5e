/**
 * What a trace says of runs: a span for each and one for each of its stages, told by whoever leads when they end. Times come from facts, ids from the run's
 * (proto/trace.ts), so a leader goes on with what another began. Not for: attempts, which their workers tell; sending (telemetry).
 */
import type { Event } from '../proto/gen/alumnus/v1/events.ts';
import { Stage } from '../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../proto/stages.ts';
import { acceptSpan, runSpan, stageSpan } from '../proto/trace.ts';
import type { Traces } from '../telemetry/index.ts';
import type { Observation } from './leader.ts';
import { isEnded, type RunState } from './run/index.ts';

interface OpenStage {
  readonly iteration: number;
  readonly stage: Stage;
  readonly try: number;
  readonly sinceMs: number;
}

interface OpenRun {
  readonly submittedAtMs: number;
  readonly stage: OpenStage;
}

export class RunSpans {
  readonly #traces: Traces;
  readonly #open = new Map<string, OpenRun>();

  constructor(traces: Traces) {
    this.#traces = traces;
  }

  /** As another left them, or at this coordinator's start. */
  leads(runs: readonly RunState[]): void {
    this.#open.clear();
    for (const { runId, phase, submittedAtMs, iteration, stage, try: attempt, stageEnteredAtMs } of runs) {
      if (!isEnded(phase)) this.#open.set(runId, { submittedAtMs, stage: { iteration, stage, try: attempt, sinceMs: stageEnteredAtMs } });
    }
  }

  observe(observation: Observation): void {
    if (observation.kind !== 'journalled') return;
    // What was done long ago has its spans, or has none.
    for (const event of observation.events) this.#take(event, !observation.restored);
  }

  #take({ runId, atMs, fact }: Event, tells: boolean): void {
    const known = this.#open.get(runId);
    const enters = (iteration: number, stage: Stage, attempt: number, outcome?: string): void => {
      if (known !== undefined && tells) this.#endStage(runId, known.stage, atMs, outcome);
      this.#open.set(runId, { submittedAtMs: known?.submittedAtMs ?? atMs, stage: { iteration, stage, try: attempt, sinceMs: atMs } });
    };
    switch (fact?.$case) {
      case 'runSubmitted': return enters(0, Stage.TRAIN, 0);
      case 'stageEntered': return enters(fact.value.iteration, fact.value.stage, fact.value.try);
      case 'studentPromoted':
      case 'studentRefused': return known === undefined ? undefined : enters(known.stage.iteration, Stage.PROMOTE, known.stage.try);
      case 'runSucceeded': return this.#endRun(runId, known, atMs, tells, 'succeeded');
      case 'runCancelled': return this.#endRun(runId, known, atMs, tells, 'cancelled');
      case 'runFailed': return this.#endRun(runId, known, atMs, tells, 'failed', `${fact.value.reason} [${fact.value.code}]`);
      default:
    }
  }

  #endStage(runId: string, stage: OpenStage, atMs: number, outcome?: string): void {
    const name = stageName(stage.stage);
    this.#traces.ended({
      name: `${name} ${stage.iteration}`, ids: stageSpan(runId, stage), parent: runSpan(runId), startMs: stage.sinceMs, endMs: atMs,
      attributes: { 'alumnus.run': runId, 'alumnus.iteration': stage.iteration, 'alumnus.stage': name, 'alumnus.try': stage.try, 'alumnus.outcome': outcome },
    });
  }

  #endRun(runId: string, known: OpenRun | undefined, atMs: number, tells: boolean, outcome: string, error?: string): void {
    this.#open.delete(runId);
    if (known === undefined || !tells) return;
    this.#endStage(runId, known.stage, atMs, outcome === 'succeeded' ? undefined : outcome);
    this.#traces.ended({ name: 'run', ids: runSpan(runId), parent: acceptSpan(runId), startMs: known.submittedAtMs, endMs: atMs, attributes: { 'alumnus.run': runId, 'alumnus.outcome': outcome }, error });
  }
}
