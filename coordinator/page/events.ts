/** The facts of a run in words, newest last: those that no manifest holds yet. */
import type { Event, TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import type { EventRow } from '../../proto/page.ts';
import { stageName } from '../../proto/stages.ts';
import type { Leader } from '../leader.ts';

export function eventsOf(leader: Leader, runId: string, after: number, most: number): EventRow[] {
  const held = leader.run(runId).manifest?.facts ?? 0;
  return leader.pending(runId).map((event, at): EventRow => rowOf(event, held + at + 1)).filter(({ number }) => number > after).slice(-most);
}

function rowOf(event: Event, number: number): EventRow {
  const { fact, atMs } = event;
  const value: object = fact?.value ?? {};
  const place = 'place' in value ? (value.place as TaskPlace | undefined) : 'training' in value ? (value.training as TaskPlace | undefined) : undefined;
  return {
    number, atMs, kind: fact?.$case ?? '', text: textOf(event), iteration: place?.iteration ?? ('iteration' in value ? Number(value.iteration) : 0), taskId: place?.taskId ?? '',
    workerId: 'workerId' in value ? String(value.workerId) : '',
  };
}

const named = (place: TaskPlace | undefined): string => (place === undefined ? 'a task' : `iteration ${place.iteration}: ${stageName(place.stage)} of ${place.subject}`);

function textOf({ fact }: Event): string {
  switch (fact?.$case) {
    case 'runSubmitted': return 'submitted';
    case 'stageEntered': return `iteration ${fact.value.iteration}: ${stageName(fact.value.stage)} begins`;
    case 'taskCompleted': return `${named(fact.value.place)} is done`;
    case 'taskFailed': return `${named(fact.value.place)} failed: ${fact.value.code}: ${fact.value.message}`;
    case 'taskQuarantined': return `${named(fact.value.place)} is quarantined: ${fact.value.reason}`;
    case 'studentPromoted': return `iteration ${fact.value.iteration}: the student is promoted`;
    case 'studentRefused': return `iteration ${fact.value.iteration}: the student is refused`;
    case 'runPaused': return `paused by ${fact.value.by}: ${fact.value.reason}`;
    case 'runResumed': return 'goes on';
    case 'labelsReviewed': return `labels of ${fact.value.samples} images were given, from iteration ${fact.value.fromIteration} on`;
    case 'runCancelled': return `cancelled: ${fact.value.reason}`;
    case 'runFailed': return `failed: ${fact.value.reason} [${fact.value.code}]`;
    case 'runSucceeded': return `succeeded with the model of iteration ${fact.value.bestIteration}`;
    case 'manifestWritten': return 'a manifest is written';
    case 'budgetChanged': return 'the budget is changed';
    case 'checkpointReached': return `${named(fact.value.place)}: checkpoint at step ${fact.value.checkpoint?.step ?? 0}`;
    case 'roundOpened': return `${named(fact.value.training)}: round ${fact.value.round} begins with ${fact.value.replicas} replicas`;
    case 'roundClosed': return `${named(fact.value.training)}: round ${fact.value.round} is closed, ${fact.value.replicas.length} replicas are merged`;
    case undefined: return '';
  }
}
