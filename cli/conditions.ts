/**
 * What a run is waited for to be, as `run wait --for` says it: `succeeded`, `ended`, `iteration=2`, `stage=train`; with commas between them what must hold
 * at once. Pure. Not for: waiting.
 */
import { AlumnusError } from '../proto/errors.ts';
import type { RunView } from '../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../proto/stages.ts';
import { hasEnded } from './client.ts';

export interface Condition {
  /** As it was written. */
  readonly text: string;
  isMet(view: RunView): boolean;
}

const STATES = ['running', 'paused', 'succeeded', 'failed', 'cancelled'] as const;
const STAGES = [Stage.LABEL, Stage.SELECT, Stage.TRAIN, Stage.EVALUATE, Stage.PROMOTE].map(stageName);

function single(text: string): Condition['isMet'] {
  const [name = '', value] = text.split('=');
  if (value === undefined && name === 'ended') return hasEnded;
  if (value === undefined && STATES.some((state) => state === name)) return ({ summary }) => summary?.state === name;
  // An iteration that the run has reached: it may be over when we look.
  if (name === 'iteration' && value !== undefined && /^\d{1,6}$/.test(value)) return ({ summary }) => (summary?.iteration ?? -1) >= Number(value);
  if (name === 'stage' && value !== undefined && STAGES.includes(value)) return (view) => !hasEnded(view) && stageName(view.summary?.stage ?? Stage.UNSPECIFIED) === value;
  throw new AlumnusError('USAGE', `"${text}" is nothing that a run can be waited for: there are ${STATES.join(', ')}, ended, iteration=N, stage=STAGE (${STAGES.join(', ')})`, { where: '--for' });
}

/** @throws AlumnusError USAGE */
export function parseCondition(text: string): Condition {
  const parts = text.split(',').map((each) => single(each.trim()));
  return { text, isMet: (view) => parts.every((isMet) => isMet(view)) };
}
