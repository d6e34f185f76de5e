/**
 * A fact in words, one line for people: what the log, `alumnus events` and the page say of it. Pure. Not for programs, which
 * read the fact itself; nor for what follows from it.
 */
import type { Event, TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import { stageName } from '../../proto/stages.ts';
import { pauseRules } from './state.ts';

export interface ToldFact {
  /** Its case on the wire, such as `taskCompleted`. */
  readonly kind: string;
  readonly text: string;
  readonly iteration?: number;
  readonly taskId?: string;
  readonly workerId?: string;
}

type Fact = NonNullable<Event['fact']>;

export function tellFact({ fact }: Event): ToldFact {
  if (fact === undefined) return { kind: '', text: '' };
  const place = 'place' in fact.value ? fact.value.place : 'training' in fact.value ? fact.value.training : undefined;
  const iteration = place?.iteration ?? ('iteration' in fact.value ? fact.value.iteration : undefined);
  const workerId = 'workerId' in fact.value ? fact.value.workerId : undefined;
  return {
    kind: fact.$case, text: textOf(fact),
    ...(iteration === undefined ? {} : { iteration }), ...(place === undefined ? {} : { taskId: place.taskId }), ...(workerId === undefined ? {} : { workerId }),
  };
}

/** Whether an operator follows runs by it: those of single tasks are too many for a log. */
export const isTurn = ({ fact }: Event): boolean => fact !== undefined && TURNS.has(fact.$case);

const TURNS: ReadonlySet<Fact['$case']> = new Set<Fact['$case']>(['runSubmitted', 'runPaused', 'runResumed', 'runRetried', 'modelChosen', 'labelsReviewed', 'runCancelled', 'runFailed', 'runSucceeded']);

function textOf(fact: Fact): string {
  switch (fact.$case) {
    case 'runSubmitted': return 'is submitted';
    case 'taskCompleted': return `${placeText(fact.value.place)} is done, by ${fact.value.workerId}`;
    case 'taskFailed': return `${placeText(fact.value.place)} ${fact.value.counts ? 'failed' : 'was handed back'} on ${fact.value.workerId}: ${fact.value.code}: ${fact.value.message}`;
    case 'taskQuarantined': return `${placeText(fact.value.place)} is given up: ${fact.value.reason}`;
    case 'checkpointReached': return `${placeText(fact.value.place)} has a checkpoint of step ${fact.value.checkpoint?.step ?? 0}`;
    case 'roundOpened': return `${placeText(fact.value.training)}: round ${fact.value.round + 1} begins with ${fact.value.replicas} replicas`;
    case 'roundClosed': return `${placeText(fact.value.training)}: round ${fact.value.round + 1} merges replicas ${fact.value.replicas.join(', ')}`;
    case 'stageEntered': return `iteration ${fact.value.iteration}${tryText(fact.value.try)} begins to ${stageName(fact.value.stage)}`;
    case 'studentPromoted': return `the model of iteration ${fact.value.iteration} is promoted${fact.value.gate === undefined ? '' : `: ${fact.value.gate.reason}`}`;
    case 'studentRefused': return `the model of iteration ${fact.value.iteration} is refused: ${fact.value.gate?.reason ?? ''}`;
    case 'modelChosen': return `has the model of iteration ${fact.value.iteration} by ${fact.value.by === '' ? 'an operator' : fact.value.by}'s word: ${fact.value.reason}`;
    case 'runPaused': return fact.value.rule === pauseRules.cancel ? `is being cancelled: ${fact.value.reason}` : `is paused by ${fact.value.by}: ${fact.value.reason}`;
    case 'runResumed': return 'goes on';
    case 'runRetried': return `is tried again${fact.value.by === '' ? '' : `, by ${fact.value.by}`}`;
    case 'runCancelled': return `is cancelled: ${fact.value.reason}`;
    case 'runFailed': return `failed: ${fact.value.reason} [${fact.value.code}]`;
    case 'runSucceeded': return `succeeded with the model of iteration ${fact.value.bestIteration}`;
    case 'manifestWritten': return `manifest ${fact.value.number} is written`;
    case 'budgetChanged': return `has other limits: ${hours(fact.value.deviceHours)} device hours, ${hours(fact.value.wallHours)} wall hours`;
    case 'labelsReviewed': return `is given the labels of ${fact.value.samples} images, from iteration ${fact.value.fromIteration} on`;
  }
}

const hours = (limit: number): string => (limit === 0 ? 'no limit of' : String(limit));
const tryText = (attempt: number): string => (attempt === 0 ? '' : `, try ${attempt + 1},`);

function placeText(place: TaskPlace | undefined): string {
  if (place === undefined) return 'a task';
  const { iteration, stage, subject } = place;
  return `${stageName(stage)} ${subject} of iteration ${iteration}${place.try === 0 ? '' : `, try ${place.try + 1}`}`;
}
