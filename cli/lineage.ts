/**
 * A model's lineage: from it back to the first teacher, each step with what it was made of, by digest. Read from the run's history and the model
 * documents, which are checked by their digests. Not for: whether a step can be made again (`model reproduce`).
 */
import { AlumnusError } from '../proto/errors.ts';
import type { Gate } from '../proto/gen/alumnus/v1/events.ts';
import type { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import type { LabelThreshold } from '../proto/gen/alumnus/v1/operator.ts';
import type { ObjectRef } from '../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, sha256, type ObjectStore } from '../store/index.ts';
import { integer, percent, pValue } from './format.ts';
import { fineTunedTeaches, modelNamed, type ModelOfRun } from './history.ts';
import { facts } from './output.ts';

export interface LineageStep {
  readonly run: string;
  /** Absent of what was trained beside the stages. */
  readonly iteration?: number;
  readonly try?: number;
  readonly role: 'first-teacher' | 'student' | 'fine-tuned' | 'control' | 'comparison' | 'imported';
  /** The comparison's name. */
  readonly comparison?: string;
  /** promoted, refused, or empty. */
  readonly decision: string;
  readonly best: boolean;
  readonly model: ObjectRef;
  readonly architecture: string;
  readonly parameters: number;
  /** Absent of a model from elsewhere. */
  readonly weights?: string;
  readonly url?: string;
  readonly task: string;
  /** Digest of the canonical JSON of the training settings, which the model document holds. */
  readonly training?: string;
  readonly labeled?: { readonly dataset: string; readonly images: number; readonly manifest: string; readonly reviewed?: string };
  readonly selection?: { readonly sha256: string; readonly labels: number; readonly kept: number; readonly rows: number; readonly threshold?: LabelThreshold; readonly shardsLost: number };
  readonly evaluation?: { readonly sha256: string; readonly validation?: Right; readonly test?: Right };
  readonly gate?: Gate;
  /** The model that fine-tuning began with. */
  readonly begin?: LineageStep;
  /** Who wrote the labels that it learned from. */
  readonly teacher?: LineageStep;
}

interface Right {
  readonly correct: number;
  readonly total: number;
}

/** What this page reads of a model document (worker/tasks/model.ts). */
interface StoredDocument {
  readonly kind?: string;
  readonly architecture?: { readonly model: { readonly name: string; readonly options: Readonly<Record<string, number>> } };
  readonly format?: string;
  readonly parameters?: number;
  readonly weights?: ObjectRef;
  readonly lineage: { readonly task: string; readonly labeled?: string; readonly reviewed?: string; readonly selection?: string; readonly training?: unknown; readonly begin?: string; readonly url?: string };
}

/** @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT (a document that contradicts the run's facts), and the store's others */
export async function lineageOf(store: ObjectStore, history: RunHistory, { model, from, fineTuned, beside }: ModelOfRun): Promise<LineageStep> {
  const ref = model.model;
  if (ref === undefined) throw new AlumnusError('MODEL_NOT_FOUND', 'it is not trained yet', { where: history.runId });
  const document = JSON.parse(Buffer.from(await store.get(ref)).toString('utf8')) as StoredDocument;
  const { lineage, architecture } = document;
  const learned = fineTuned ? undefined : from?.selection?.selection;
  if ((lineage.selection ?? '') !== (learned?.sha256 ?? '')) throw new AlumnusError('SHARD_CORRUPT', 'the model document names another selection than the run\'s facts', { where: ref.key });
  const begun = lineage.begin === undefined ? undefined : modelNamed(history, lineage.begin);
  const teacher = learned === undefined || from?.teacher === undefined ? undefined : modelNamed(history, from.teacher.sha256);
  const { evaluation } = model;
  return {
    run: history.runId, ...(from === undefined || beside !== undefined ? {} : { iteration: from.iteration, try: from.try }),
    ...(beside === undefined || beside === 'control' ? {} : { comparison: beside }),
    role: document.kind === 'foreign' ? 'imported' : beside !== undefined || from === undefined ? (beside === 'control' ? 'control' : 'comparison') : fineTuned ? 'fine-tuned' : from.iteration === 0 ? 'first-teacher' : 'student',
    decision: beside === undefined ? from?.decision ?? '' : '', best: history.bestModel?.sha256 === ref.sha256, model: ref,
    architecture: architecture === undefined ? document.format ?? '' : [architecture.model.name, ...Object.entries(architecture.model.options).map(([name, value]) => `${name}=${value}`)].join(' '),
    parameters: document.parameters ?? 0, task: lineage.task,
    ...(document.weights === undefined ? {} : { weights: document.weights.sha256 }),
    ...(lineage.url === undefined ? {} : { url: lineage.url }),
    ...(lineage.training === undefined ? {} : { training: sha256(canonicalJson(lineage.training)) }),
    ...(lineage.labeled === undefined ? {} : { labeled: { ...labeledImages(history, lineage.reviewed, ref), manifest: lineage.labeled } }),
    ...(learned === undefined || from?.selection === undefined ? {} : {
      selection: {
        sha256: learned.sha256, labels: from.selection.labeled, kept: from.selection.kept, rows: from.selection.rows, shardsLost: from.lost.length,
        ...(from.threshold === undefined ? {} : { threshold: from.threshold }),
      },
    }),
    ...(evaluation?.evaluation === undefined ? {} : { evaluation: { sha256: evaluation.evaluation.sha256, ...rightOf('validation', evaluation.validation), ...rightOf('test', evaluation.test) } }),
    ...(from?.gate === undefined || !isGated(history, from, ref) ? {} : { gate: from.gate }),
    ...(begun === undefined ? {} : { begin: await lineageOf(store, history, begun) }),
    ...(teacher === undefined ? {} : { teacher: await lineageOf(store, history, teacher) }),
  };
}

/** The labeled part, with what people labeled until this model was trained. @throws AlumnusError SHARD_CORRUPT where no fact tells of what it names */
function labeledImages({ data, reviews }: RunHistory, reviewed: string | undefined, model: ObjectRef): { dataset: string; images: number; reviewed?: string } {
  const { dataset = '', samples = 0, reviewed: from } = data?.labeled ?? {};
  if (reviewed === from?.sha256) return { dataset, images: samples, ...(reviewed === undefined ? {} : { reviewed }) };
  const last = reviews.findIndex((each) => each.reviewed?.sha256 === reviewed);
  if (last < 0 || reviewed === undefined) throw new AlumnusError('SHARD_CORRUPT', 'the model document names other labels of people than the run\'s facts', { where: model.key });
  return { dataset, images: reviews.slice(0, last + 1).reduce((sum, each) => sum + each.samples, samples), reviewed };
}

/** Of the two models of an iteration the one that the gate saw. */
const isGated = (history: RunHistory, { student, fineTuned }: NonNullable<ModelOfRun['from']>, ref: ObjectRef): boolean =>
  (fineTunedTeaches(history) && fineTuned !== undefined ? fineTuned : student)?.model?.sha256 === ref.sha256;

const rightOf = (name: 'validation' | 'test', score: Right | undefined): Partial<Record<typeof name, Right>> => (score === undefined ? {} : { [name]: { correct: score.correct, total: score.total } });

const shareText = ({ correct, total }: Right): string => `${integer(correct)} of ${integer(total)} right${total === 0 ? '' : ` (${percent(correct / total, 2)})`}`;

/** Where a threshold comes from. */
export const thresholdText = ({ confidence, measured }: LabelThreshold): string =>
  `${confidence}, ${measured === undefined ? 'the recipe\'s labels.threshold' : `for labels.precision ${measured.wanted}: of validation's predictions from there on ${integer(measured.correct)} of ${integer(measured.total)} were right, at least ${percent(measured.least, 2)} (95 % bound)${measured.reached ? '' : ', which no threshold reached'}`}`;

const roles: Readonly<Record<LineageStep['role'], string>> = {
  'first-teacher': 'first teacher, trained on the labeled images', student: 'student', 'fine-tuned': 'student after fine-tuning', control: 'control: labeled images alone', comparison: 'comparison', imported: 'first teacher, from elsewhere',
};

/** The tree as indented text, the model first. */
export function lineageText(step: LineageStep, link = '', depth = 0): string {
  const { iteration, selection, evaluation, gate, labeled } = step;
  const title = `${link}${iteration === undefined ? '' : `iteration ${iteration}${step.try === undefined || step.try === 0 ? '' : `, try ${step.try + 1}`}: `}${roles[step.role]}${step.comparison === undefined ? '' : ` ${step.comparison}`}${step.decision === '' ? '' : `, ${step.decision}`}${step.best ? ', the run\'s best' : ''}`;
  const body = facts([
    ['Model', `sha256 ${step.model.sha256}`],
    ['Architecture', `${step.architecture}${step.parameters === 0 ? '' : `, ${integer(step.parameters)} parameters`}`],
    ['Weights', step.weights === undefined ? '' : `sha256 ${step.weights}`],
    ['From', step.url ?? ''],
    ['Task', step.task],
    ['Training settings', step.training === undefined ? '' : `sha256 ${step.training}`],
    ['Labeled', labeled === undefined ? '' : `${integer(labeled.images)} images of ${labeled.dataset}, manifest sha256 ${labeled.manifest}${labeled.reviewed === undefined ? '' : `; some labeled by people in reviews, sha256 ${labeled.reviewed}`}`],
    ['Selection', selection === undefined ? '' : `sha256 ${selection.sha256}: ${integer(selection.kept)} of ${integer(selection.labels)} labels kept, ${integer(selection.rows)} with copies${selection.shardsLost === 0 ? '' : `; ${integer(selection.shardsLost)} shards quarantined`}`],
    ['Threshold', selection?.threshold === undefined ? '' : thresholdText(selection.threshold)],
    ['Evaluation', evaluation === undefined ? '' : `sha256 ${evaluation.sha256}`],
    ['Validation', evaluation?.validation === undefined ? '' : shareText(evaluation.validation)],
    ['Test', evaluation?.test === undefined ? '' : `${shareText(evaluation.test)}, reported only`],
    ['Gate', gate === undefined ? '' : `${gate.reason}: only the student right ${integer(gate.studentOnlyRight)}, only the teacher ${integer(gate.teacherOnlyRight)}, ${pValue(gate.pValue)}`],
  ]);
  const indent = '  '.repeat(depth);
  const own = [title, ...body.split('\n').map((line) => `  ${line}`)].map((line) => `${indent}${line}`).join('\n');
  const next = [step.begin === undefined ? '' : lineageText(step.begin, '└ began with ', depth + 1), step.teacher === undefined ? '' : lineageText(step.teacher, '└ labels by ', depth + 1)];
  return [own, ...next.filter((text) => text !== '')].join('\n');
}
