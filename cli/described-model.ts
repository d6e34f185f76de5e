/** One model as its document and its run's history tell it. Not for: its teachers (lineage.ts), nor what it costs (`run measure`). */
import type { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import type { ImageSpec, ObjectRef } from '../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../store/index.ts';
import { bytes, integer } from './format.ts';
import type { ModelOfRun } from './history.ts';
import { lineageOf, lineageText, type LineageStep } from './lineage.ts';
import { facts } from './output.ts';

export interface DescribedModel extends Omit<LineageStep, 'teacher' | 'begin'> {
  /** Digests of the models that it was made with. */
  readonly teacherSha256?: string;
  readonly beginSha256?: string;
  readonly classNames: readonly string[];
  /** Absent of a model from elsewhere, and so with the next. */
  readonly image?: ImageSpec;
  readonly weightsBytes?: number;
}

/** What this page reads of a model document (worker/tasks/model.ts). */
interface StoredDocument {
  readonly classNames?: readonly string[];
  readonly architecture?: { readonly input: ImageSpec };
  readonly weights?: ObjectRef;
}

/** @throws AlumnusError as `lineageOf` */
export async function describedModel(store: ObjectStore, history: RunHistory, model: ModelOfRun): Promise<DescribedModel> {
  const { teacher, begin, ...step } = await lineageOf(store, history, model);
  const { classNames = [], architecture, weights } = JSON.parse(Buffer.from(await store.get(step.model)).toString('utf8')) as StoredDocument;
  return {
    ...step, classNames, ...(teacher === undefined ? {} : { teacherSha256: teacher.model.sha256 }), ...(begin === undefined ? {} : { beginSha256: begin.model.sha256 }),
    ...(architecture === undefined ? {} : { image: architecture.input }), ...(weights === undefined ? {} : { weightsBytes: weights.bytes }),
  };
}

const CLASSES_SHOWN_MAX = 20;

export function describedText(model: DescribedModel): string {
  const { classNames, image } = model;
  return `${lineageText(model)}\n${facts([
    ['Takes', image === undefined ? '' : `images of ${image.height}x${image.width}x${image.channels}`],
    ['Gives', `${integer(classNames.length)} classes: ${classNames.slice(0, CLASSES_SHOWN_MAX).join(', ')}${classNames.length > CLASSES_SHOWN_MAX ? ', …' : ''}`],
    ['Weights take', model.weightsBytes === undefined ? '' : bytes(model.weightsBytes)],
    ['Labels by', model.teacherSha256 === undefined ? '' : `sha256 ${model.teacherSha256}`],
    ['Began with', model.beginSha256 === undefined ? '' : `sha256 ${model.beginSha256}`],
  ]).split('\n').map((line) => `  ${line}`).join('\n')}`;
}
