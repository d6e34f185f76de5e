/**
 * What a run has spent of its budget, and whether that is all. Pure: time is an argument, and so is the device time of
 * attempts in flight, which only the scheduler knows. Not for: pausing; `decide` makes the facts.
 *
 * What counts: device time of accepted results and of failed attempts (handed back or not, the device was held), and
 * wall time from submission with the time paused left out. What does not: the loser of a task's two leases and a result
 * that came too late leave no fact, so their device time is counted only while it is in flight.
 */
import type { RunState } from './state.ts';

export const MS_PER_HOUR = 3_600_000;

/** Wall time that the run has taken by `nowMs`. A clock that was set back, or a new leader's that is behind, takes nothing away. */
export function wallMsSpent({ budget }: RunState, nowMs: number): number {
  return budget.wallMsSpent + (budget.runningSinceMs === undefined ? 0 : Math.max(0, nowMs - budget.runningSinceMs));
}

export interface SpentBudget {
  /** One clause: what was spent of what, such as `its budget is spent (2.01 of 2 device hours)`. */
  readonly what: string;
  /** The command that raises it. */
  readonly raise: string;
}

/** Three digits tell hours from limits written by hand; more would be noise of the clock. */
export const hoursText = (ms: number): string => String(Number((ms / MS_PER_HOUR).toPrecision(3)));

/**
 * What is spent; undefined while nothing is, or where there is no limit. A limit is spent when it is reached.
 * @param inFlightMs device time of attempts under way: it is as good as spent, since nobody takes it from them.
 */
export function spentBudget(state: RunState, nowMs: number, inFlightMs: number): SpentBudget | undefined {
  const { budget: { deviceHours, wallHours, deviceMsSpent }, runId } = state;
  const deviceMs = deviceMsSpent + Math.max(0, inFlightMs);
  const wallMs = wallMsSpent(state, nowMs);
  const spent: { text: string; flag: string }[] = [];
  if (deviceHours > 0 && deviceMs >= deviceHours * MS_PER_HOUR) spent.push({ text: `${hoursText(deviceMs)} of ${deviceHours} device hours`, flag: '--device-hours N' });
  if (wallHours > 0 && wallMs >= wallHours * MS_PER_HOUR) spent.push({ text: `${hoursText(wallMs)} of ${wallHours} wall hours`, flag: '--wall-hours N' });
  if (spent.length === 0) return undefined;
  return { what: `its budget is spent (${spent.map((each) => each.text).join(' and ')})`, raise: `alumnus run budget ${runId} ${spent.map((each) => each.flag).join(' ')}` };
}

/** Whether a run that waits would be paused now. Constant time. */
export const isBudgetDue = (state: RunState, nowMs: number, inFlightMs: number): boolean => state.phase === 'running' && spentBudget(state, nowMs, inFlightMs) !== undefined;
