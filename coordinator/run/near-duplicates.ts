/**
 * Near-duplicates of images that judge, as a run has them: the tasks that look for them, and what follows. They stand at the head of the select stage: what judges is looked at once,
 * each shard that trains once, and no selection is made before the shards that it selects from were looked at. Pure. Not for: what is near (worker/data/near.ts).
 * Invariants:
 *  1. Where the recipe does not ask, every function here answers as if there were no such thing, and no task's id changes.
 *  2. What was found is left out of the selections; labeled images that were found are told, and stay.
 */
import { invariant } from '../../proto/errors.ts';
import type { NearCounts, NearDuplicatesView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type FingerprintResult, type FingerprintSpec, type ObjectRef, type ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { fingerprintSubject, labeledSubject, subjects } from '../../proto/subjects.ts';
import { currentIteration, type RunState } from './state.ts';

export interface Fingerprinting {
  readonly subject: string;
  readonly spec: FingerprintSpec;
  /** Images. */
  readonly work: number;
}

interface Wanted {
  readonly subject: string;
  readonly shard: ShardRef;
}

/** The shards that are looked through before this iteration's selection: those that it selects from, and the labeled ones. */
function wantedShards(state: RunState): Wanted[] {
  const { labels } = currentIteration(state);
  return [
    ...(state.data.unlabeled?.shards ?? []).filter(({ name }) => labels.has(name)).map((shard) => ({ subject: fingerprintSubject(shard.name), shard })),
    ...(state.data.labeled?.shards ?? []).map((shard) => ({ subject: fingerprintSubject(labeledSubject(shard.name)), shard })),
  ];
}

/** What is to be done before the present iteration's selection, in order; none where the recipe does not ask. */
export function fingerprintings(state: RunState): Fingerprinting[] {
  const { data, recipe: { data: { near_duplicates: rule } } } = state;
  if (rule === undefined) return [];
  const common: FingerprintSpec = { image: data.image, validation: undefined, test: undefined, shard: undefined, against: undefined, ...rule };
  const against = state.fingerprints.get(subjects.judging)?.fingerprints;
  if (against === undefined) {
    const { validation, test } = data;
    return [{ subject: subjects.judging, spec: { ...common, validation, test }, work: (validation?.samples ?? 0) + (test?.samples ?? 0) }];
  }
  return wantedShards(state).filter(({ subject }) => !state.fingerprints.has(subject)).map(({ subject, shard }) => ({ subject, spec: { ...common, shard, against }, work: shard.samples }));
}

/** Whether this very task is still wanted: cheap, since there are as many as shards. */
export const isFingerprintWanted = ({ fingerprints }: RunState, subject: string, { against }: FingerprintSpec): boolean =>
  !fingerprints.has(subject) && against?.sha256 === fingerprints.get(subjects.judging)?.fingerprints?.sha256;

/** Which of the select stage's kinds of tasks are open: changes when others are. */
export function fingerprintTurn(state: RunState): string {
  if (state.recipe.data.near_duplicates === undefined || state.stage !== Stage.SELECT) return '';
  if (!state.fingerprints.has(subjects.judging)) return 'judging';
  return isComplete(state) ? 'done' : 'shards';
}

/**
 * Whether nothing is left to be looked through. Asked at every fact: while results are too few, shards are not counted. Looked through are what judges, every unlabeled
 * shard with labels and every labeled one; a stored teacher's labels are of these, and of what people gave labels to, which is not looked through.
 */
function isComplete(state: RunState): boolean {
  const { fingerprints, reviews } = state;
  const reviewedShards = reviews.reduce((sum, { shards }) => sum + shards.length, 0);
  if (fingerprints.size <= currentIteration(state).labels.size - reviewedShards) return false;
  return wantedShards(state).every(({ subject }) => fingerprints.has(subject));
}

/** So many of how many are done: what judges, and each shard. */
export function fingerprintProgress(state: RunState): { done: number; total: number } {
  if (state.recipe.data.near_duplicates === undefined) return { done: 0, total: 0 };
  const wanted = [subjects.judging, ...wantedShards(state).map(({ subject }) => subject)];
  return { done: wanted.filter((subject) => state.fingerprints.has(subject)).length, total: wanted.length };
}

const resultsOf = ({ data, fingerprints }: RunState, part: 'labeled' | 'unlabeled'): FingerprintResult[] =>
  (data[part]?.shards ?? []).flatMap(({ name }) => fingerprints.get(fingerprintSubject(part === 'labeled' ? labeledSubject(name) : name)) ?? []);

/** Tables of the near-duplicates in the unlabeled part, in the order of its shards. */
export const nearTables = (state: RunState): ObjectRef[] => resultsOf(state, 'unlabeled').flatMap(({ near }) => near ?? []);

export function nearDuplicatesView(state: RunState): NearDuplicatesView | undefined {
  if (state.recipe.data.near_duplicates === undefined) return undefined;
  const counts = (part: 'labeled' | 'unlabeled'): NearCounts => {
    const results = resultsOf(state, part);
    const sum = (of: (each: FingerprintResult) => number): number => results.reduce((total, each) => total + of(each), 0);
    return { samples: sum((each) => each.samples), nearValidation: sum((each) => each.nearValidation), nearTest: sum((each) => each.nearTest), nearAny: sum((each) => each.nearAny) };
  };
  const shards = (state.data.unlabeled?.shards.length ?? 0) + (state.data.labeled?.shards.length ?? 0);
  return { unlabeled: counts('unlabeled'), labeled: counts('labeled'), complete: resultsOf(state, 'unlabeled').length + resultsOf(state, 'labeled').length === shards, tables: nearTables(state) };
}

/** What a person should know: labeled images teach, and are not taken away from who labeled them. */
export function nearDuplicateWarnings(state: RunState): string[] {
  const { labeled } = nearDuplicatesView(state) ?? {};
  if (labeled === undefined || labeled.nearAny === 0) return [];
  return [`${labeled.nearAny} labeled images look like images of validation (${labeled.nearValidation}) or test (${labeled.nearTest}); they were left where they are, and accuracy there may come out too good`];
}

/** What a result must hold. */
export function fingerprintProblem({ against }: FingerprintSpec, result: FingerprintResult): string | undefined {
  if (against === undefined) return result.fingerprints === undefined ? 'the result names no fingerprints' : undefined;
  const { near, nearAny, nearValidation, nearTest } = result;
  const consistent = nearAny <= nearValidation + nearTest && nearAny >= Math.max(nearValidation, nearTest) && (near !== undefined) === (nearAny > 0);
  return consistent ? undefined : 'the counts of near-duplicates contradict each other';
}

/** The state with a result. */
export function fingerprinted(state: RunState, subject: string, result: FingerprintResult): RunState {
  invariant(subject === subjects.judging || result.fingerprints === undefined, 'only what judges is kept to be compared with');
  return { ...state, fingerprints: state.fingerprints.set(subject, result) };
}
