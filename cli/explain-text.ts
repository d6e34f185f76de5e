/** Why each iteration kept or dropped a sample's label, in words. What is told is the worker's to find (worker/data/explain.ts). */
import type { IterationExplained, NamedClass, SampleExplained } from '../proto/told.ts';
import { integer, percent, plural, shortDigest } from './format.ts';
import { thresholdText } from './lineage.ts';
import { facts } from './output.ts';

const times = (count: number): string => (count === 1 ? 'once' : count === 2 ? 'twice' : `${integer(count)} times`);

/** Of a label's classes, so many are shown; `-o json` has all. */
const CLASSES_SHOWN_MAX = 5;

export function sampleText({ run, key, origin, shard, dataset, truth, reviewed, iterations }: SampleExplained): string {
  return [
    facts([
      ['Sample', key],
      ['From', origin ?? ''],
      ['Shard', `${shard} of ${dataset}`],
      ['Run', run],
      ['A person\'s label', reviewed === undefined ? '' : `${reviewed.name}: a labeled image ${reviewed.fromIteration === 0 ? 'of the run from the start' : `for the students of iteration ${reviewed.fromIteration} on`}`],
      ['True label', truth === undefined ? 'not known' : `${truth.name} (kept for audits, and for comparisons that ask for it: no teacher, student or selection was given it)`],
    ]),
    ...iterations.map((each) => iterationText(each, truth)),
  ].join('\n\n');
}

function iterationText(each: IterationExplained, truth: NamedClass | undefined): string {
  const { label, threshold, teacher } = each;
  const attempt = each.try === 0 ? '' : `, try ${each.try + 1}`;
  const right = label === undefined || truth === undefined ? '' : label.class === truth.class ? ', which is right' : `, which is wrong: it is ${truth.name}`;
  return [
    `Iteration ${each.iteration}${attempt}: ${outcomeText(each)}`,
    ...facts([
      ['Teacher', `model of iteration ${teacher.iteration}, sha256 ${shortDigest(teacher.sha256)}`],
      ['Label', label === undefined ? '' : `${label.name}${right}`],
      ['Probabilities', label?.probabilities.slice(0, CLASSES_SHOWN_MAX).map(({ name, probability }) => `${name} ${percent(probability, 2)}`).join(', ') ?? ''],
      ['Confidence', label === undefined ? '' : `${label.confidence.toFixed(4)}, log-odds ${label.logOdds.toFixed(4)}`],
      ['Threshold', threshold === undefined ? '' : `${thresholdText(threshold)}${logOddsText(threshold.logOdds)}`],
      ['Why', reasonText(each)],
      ['Student', each.decision],
    ]).split('\n').map((line) => `  ${line}`),
  ].join('\n');
}

/** JSON has no infinity, which a threshold of 0 or 1 is: those are told by their confidence alone. */
const logOddsText = (logOdds: number | null): string => (Number.isFinite(logOdds) ? `; log-odds ${(logOdds ?? 0).toFixed(4)}` : '');

function outcomeText({ outcome, copies }: IterationExplained): string {
  switch (outcome) {
    case 'kept': return copies === 1 ? 'kept, once' : `kept and repeated: ${times(copies)}`;
    case 'dropped': return 'dropped';
    case 'left-out': return 'left out';
    case 'labeled': return 'labeled, not selected yet';
    case 'waiting': return 'not labeled yet';
    case 'lost': return 'lost with its shard';
  }
}

function reasonText({ reason, label, ranking, copies }: IterationExplained): string {
  const name = label?.name ?? '';
  const place = ranking === undefined ? '' : ranking.rankFrom === ranking.rankTo ? `place ${integer(ranking.rankFrom + 1)}` : `place ${integer(ranking.rankFrom + 1)} to ${integer(ranking.rankTo + 1)}`;
  const supply = ranking === undefined ? '' : `${plural(ranking.eligible, 'label')} of ${name} at or above the threshold for a budget of ${integer(ranking.budget)}`;
  const decided = 'by' in reason && reason.by === 'hash' ? '; labels on both sides of the cut have its log-odds, and the seeded hash of its key decided' : ranking?.cutLogOdds === undefined ? '' : `; the cut is at log-odds ${ranking.cutLogOdds.toFixed(4)}`;
  switch (reason.kind) {
    case 'not-yet': return 'as of the run\'s last manifest';
    case 'shard-quarantined': return `the shard is quarantined: ${reason.why}`;
    case 'near-duplicate': return `it looks like ${reason.of}, which is for ${reason.part}: the hashes differ in ${plural(reason.distance, 'bit')} of 64, the correlation is ${reason.correlation.toFixed(4)}`;
    case 'reviewed': return 'a person gave it a label, and it is learned from by that';
    case 'below-threshold': return 'its confidence is below the threshold';
    case 'within-budget': return `${supply}: each is taken ${times(copies)}${ranking !== undefined && ranking.eligible * copies < ranking.budget ? ', the most that labels.copies_max allows' : ''}`;
    case 'above-cut':
      return ranking === undefined ? '' : `${supply}: ${ranking.copies === 0 ? `the ${integer(ranking.oneMore)} most confident are taken` : `each is taken ${times(ranking.copies)} and the ${integer(ranking.oneMore)} most confident once more`}, and it has ${place}${decided}`;
    case 'below-cut':
      return ranking === undefined ? '' : `${supply}: ${ranking.copies === 0 ? `only the ${integer(ranking.oneMore)} most confident are taken` : `each is taken ${times(ranking.copies)} and only the ${integer(ranking.oneMore)} most confident once more`}, and it has ${place}${decided}`;
  }
}
