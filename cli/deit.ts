/**
 * The table of DeiT's experiments (Touvron et al. 2020, arXiv 2012.12877, table 3) of a run that has a student with a distillation token: its
 * rows in the paper's order, each filled by the model of this run that was trained so. Pure. Not for: figures, which are the coordinator's.
 */
import type { ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import { findModel, modelOfIteration, type Comparison, type Distill, type Recipe } from '../recipe/index.ts';
import { agreed, gated, lastStudent, recipeOf } from './comparisons.ts';
import { none, percent, plain } from './format.ts';
import { table } from './output.ts';
import { scored, share, type Proportion } from './statistics.ts';

export interface DeitRow {
  /** As the paper calls it. */
  readonly row: string;
  /** Which head predicts; empty of a model that has one. */
  readonly head: '' | 'class head' | 'distillation head' | 'both, averaged';
  /** Of the model in this run's tables: `student`, or a comparison's name. */
  readonly name: string;
  readonly model: string;
  readonly validation: Proportion | undefined;
  readonly test: Proportion | undefined;
  /** With the teacher, on test, or on validation where there is no test split. */
  readonly agreement: Proportion | undefined;
}

const ROWS = ['labels alone', 'without distillation', 'usual distillation', 'hard distillation', 'distillation token, hard', 'distillation token, soft'] as const;

/** How it learns, as a row of the table; undefined where it is none of them. */
function rowOf(hasToken: boolean, distill: Distill | undefined): (typeof ROWS)[number] | undefined {
  if (distill?.head === 'token') return distill.targets === 'hard' ? 'distillation token, hard' : 'distillation token, soft';
  // Two heads that learn one thing are no row of the paper's.
  if (hasToken) return undefined;
  return distill === undefined ? 'without distillation' : distill.targets === 'hard' ? 'hard distillation' : 'usual distillation';
}

/** Of a comparison that differs from the student in model and distillation alone. */
function ownDistill({ training }: Recipe, { labels, kind, distill, noise, steps, label_noise: labelNoise }: Comparison): { readonly wish: Distill | undefined } | undefined {
  if (labels !== 'pseudo' || kind !== undefined || noise !== undefined || steps !== undefined || labelNoise !== undefined) return undefined;
  return { wish: distill === 'none' ? undefined : distill ?? training.distill };
}

const hasToken = (model: string): boolean => findModel(model)?.distillationToken === true;

/** In the paper's order; empty where no student has the token, or none is evaluated. */
export function deitRows(view: RunView): DeitRow[] {
  const recipe = recipeOf(view);
  if (recipe?.training.distill?.head !== 'token' && recipe?.comparisons?.some(({ distill }) => typeof distill === 'object' && distill.head === 'token') !== true) return [];
  const last = modelOfIteration(recipe, recipe.rounds).model;
  const models = [
    ...(view.control === undefined ? [] : [{ row: 'labels alone' as const, name: 'control', model: gated(view, { model: view.control, fineTuned: view.controlFineTuned }) }]),
    { row: rowOf(hasToken(last), recipe.training.distill), name: 'student', model: lastStudent(view) },
    ...(recipe.comparisons ?? []).map((comparison) => {
      const own = ownDistill(recipe, comparison);
      return { row: own && rowOf(hasToken(comparison.model?.model ?? last), own.wish), name: comparison.name, model: gated(view, view.comparisons.find(({ name }) => name === comparison.name)) };
    }),
  ];
  return ROWS.flatMap((row) => models.filter((each) => each.row === row).flatMap(({ name, model }) => rowsOf(row, name, model)));
}

function rowsOf(row: string, name: string, model: ModelView | undefined): DeitRow[] {
  if (scored(model?.validation) === undefined) return [];
  const of = { row, name, model: model?.label ?? '' };
  const agreement = agreed(model?.teacherAgreement?.test ?? model?.teacherAgreement?.validation);
  // Without a teacher there is nothing that one of two heads learned and the other did not.
  const heads = (row === 'labels alone' ? [] : model?.heads?.scores ?? []).map(({ head, validation, test }): DeitRow => ({ ...of, head: head === 'class' ? 'class head' : 'distillation head', validation: scored(validation), test: scored(test), agreement: undefined }));
  return [...heads, { ...of, head: heads.length > 0 ? 'both, averaged' : '', validation: scored(model?.validation), test: scored(model?.test), agreement }];
}

export const deitLegend = 'The rows of table 3 of the paper (arXiv 2012.12877), in its order. There every image has a true label; here the labels of the rows "without distillation" are the teacher\'s, as stored, and those of "labels alone" the few labeled images. A model with two heads is told by each and by the mean of their logits, which predicts.';

/** As a terminal shows them; empty where there are none. */
export function deitText(view: RunView): string {
  const rows = deitRows(view);
  if (rows.length === 0) return '';
  const shown = (value: Proportion | undefined): string => (value === undefined ? none : percent(share(value), 2));
  return `${table(['DeiT', 'head', 'comparison', 'model', 'validation', 'test', 'agrees'], rows.map((each) => [each.row, each.head === '' ? none : each.head, plain(each.name), plain(each.model), shown(each.validation), shown(each.test), shown(each.agreement)]), [4, 5, 6])}\n${deitLegend}`;
}
