/**
 * What a person does about a run that stands still: the reason of its pause or failure names the code of an error, and
 * the table of errors the remedy. Not for pauses that a person or a gate asked for: their reasons say it themselves.
 */
import { errorTable, isErrorCode, type ErrorCode } from '../proto/errors.ts';
import type { RunSummary } from '../proto/gen/alumnus/v1/operator.ts';

/** As the coordinator journals them: a pause after failed attempts, and a failure, which ends in its code. */
const PAUSED_CODE = /, the last with ([A-Z_]+): /;
const FAILED_CODE = /\[([A-Z_]+)\]$/;
/** Objects of a dataset with these faults are written anew by its import, since it lays each under its digest. */
const REPAIRED_BY_IMPORT: ReadonlySet<ErrorCode> = new Set(['DIGEST_MISMATCH', 'OBJECT_NOT_FOUND']);

/** As the coordinator journals the pause of a run whose budget is spent; `run resume` is refused then. */
const PAUSED_FOR_BUDGET = /; `alumnus run budget [^`]+` raises it, and the run goes on$/;

/** Whether what its reason asks for is all it takes: such a pause is not resumed by a person. */
export const goesOnByItself = (summary: RunSummary | undefined): boolean => summary?.state === 'paused' && PAUSED_FOR_BUDGET.test(summary.reason);

/** One sentence or two; empty where the reason names no error. */
export function remedyOf(summary: RunSummary | undefined): string {
  const { state = '', reason = '' } = summary ?? {};
  const code = (state === 'paused' ? PAUSED_CODE : state === 'failed' ? FAILED_CODE : undefined)?.exec(reason)?.[1] ?? '';
  if (!isErrorCode(code)) return '';
  if (REPAIRED_BY_IMPORT.has(code) && reason.includes(' datasets/')) return 'Repair the data: run the same `alumnus dataset import` again, which puts every missing or damaged object back and changes nothing else.';
  return errorTable[code].remedy;
}

/** As `remedyOf`, and how a paused run, or one without workers, goes on. */
export function nextStep(summary: RunSummary | undefined): string {
  if (summary?.waitsForWorker) return 'It waits for a worker, and none is here. Start one: alumnus worker';
  const remedy = remedyOf(summary);
  return remedy === '' || summary?.state !== 'paused' ? remedy : `${remedy} Then: alumnus run resume ${summary.runId}`;
}
