/** The public door of `coordinator/run`: a run as pure functions. Facts in, state out; state and command in, facts out. */
export { besidesOf, besideState, type Beside } from './beside.ts';
export { hoursText, isBudgetDue, MS_PER_HOUR, spentBudget, wallMsSpent, type SpentBudget } from './budget.ts';
export { thinClasses, type ThinClass } from './coverage.ts';
export { bestOf, decide, isDue, isOpen, type Command, type Moment } from './decide.ts';
export { labelTotal } from './distill.ts';
export { driftWarnings, precisionDrift } from './drift.ts';
export { evolve } from './evolve.ts';
export { candidateOf, type Candidate } from './fine-tune.ts';
export { decideGate, leastResolvable, mcnemarExact } from './gate.ts';
export { skewedClasses, type ClassShare } from './guards.ts';
export { acceptedTasks, historyOf, tasksBehind } from './history.ts';
export { dataRefOf, hydrated, journalled } from './reference.ts';
export { firstScores, robustnessOn } from './robustness.ts';
export { quorumOf, roundsOf, roundSteps, sharedOf, sharingOf, stepsOf, waitsUntilWallMs } from './rounds.ts';
export { stateFromJson, stateToJson } from './snapshot.ts';
export { currentIteration, guardRules, isAudit, isBeside, isEnded, isFineTuned, pauseRules, placeOf, besideOf, subjects, type BesideState, type Budget, type Failure, type IterationState, type Phase, type Round, type RunState, type SharedTraining, type Teacher, type Trained } from './state.ts';
export { deriveSeed, openTasks, openTrainings, PAIRED_SUBSETS } from './tasks.ts';
export { labelThreshold, shareAtLeast, thresholdOf } from './threshold.ts';
