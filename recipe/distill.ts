/**
 * Distillation as a recipe asks for it, of its students (`training.distill`) and of comparisons, and what it cannot be asked beside.
 * Not for: the loss (worker/learning/distillation.ts), nor what a run makes of it (coordinator/run/distill.ts).
 */
import { z } from 'zod';
import { share } from './bounds.ts';
import { findModel } from './models/index.ts';

/** Of distillation: below it a soft target is a hard one, beyond it all targets are alike; Hinton et al. went from 1 to 20. */
const TEMPERATURE_LEAST = 0.1;
const TEMPERATURE_MOST = 100;

/** Hinton et al. 2015 (arXiv 1503.02531); `token`: DeiT (Touvron et al. 2020, arXiv 2012.12877). */
export const distillSchema = z
  .strictObject({
    teacher: z.enum(['stored', 'online']).default('stored').describe('stored: what the teacher said of each clean image, written once by the label stage; online: the teacher sees, within the step, the very image that its student sees, noised and mixed, itself without dropout and stochastic depth. Default stored.'),
    targets: z.enum(['soft', 'hard']).default('soft').describe('soft: the teacher\'s probabilities at `temperature`; hard: its most probable class. Default soft.'),
    temperature: z.number().min(TEMPERATURE_LEAST).max(TEMPERATURE_MOST).default(1).describe(`T of both softmaxes, of soft targets. ${TEMPERATURE_LEAST} to ${TEMPERATURE_MOST}, default 1; DeiT has 3.`),
    share: share.default(0.5).describe('The teacher\'s share of the loss of an image with a true label (a); one without learns from the teacher alone. 0 to 1, default 0.5; DeiT has 0.1 with soft targets.'),
    head: z.enum(['class', 'token']).default('class').describe('Which head learns from the teacher. class: the one that learns the labels; token: the head of the distillation token, which the deit-* models have; the two are averaged in prediction. Default class.'),
  })
  .refine(({ targets, temperature }) => targets === 'soft' || temperature === 1, { path: ['temperature'], message: 'belongs to soft targets: the most probable class is the same at any temperature' });

export type Distill = z.output<typeof distillSchema>;

/** As far as `distillationProblems` reads a recipe. */
interface Wish {
  readonly rounds: number;
  readonly models: { readonly ladder: readonly { readonly model: string }[]; readonly teacher?: unknown };
  readonly training: { readonly distill?: Distill | undefined; readonly fine_tune?: { readonly teaches: boolean; readonly image?: unknown } | undefined };
  readonly labels: { readonly kind: string; readonly noised_teacher: boolean };
  readonly comparisons?: readonly { readonly model?: { readonly model: string } | undefined; readonly labels: string; readonly kind?: unknown; readonly distill?: Distill | 'none' | undefined }[] | undefined;
}

interface Problem {
  readonly path: (string | number)[];
  readonly message: string;
}

const lacksToken = (model: string): boolean => findModel(model) !== undefined && findModel(model)?.distillationToken !== true;
const noToken = (asks: string): string => `has no distillation token, as ${asks}: token asks: take deit-tiny, deit-small or deit-base, or write head: class`;

/** What training.distill, and the distillation of comparisons, cannot be asked beside. */
export function distillationProblems(recipe: Wish): Problem[] {
  const { training: { distill: wish }, models: { ladder, teacher }, labels, rounds, comparisons = [] } = recipe;
  const problems: Problem[] = [];
  if (wish !== undefined) {
    const path = ['training', 'distill'];
    if (rounds === 0) problems.push({ path, message: 'is of students, and with rounds: 0 there are none' });
    if (labels.kind === 'hard') problems.push({ path: ['labels', 'kind'], message: 'has no meaning beside training.distill, whose targets say what students learn of their teacher: leave it out' });
    problems.push(...onlineProblems(recipe, wish, path));
    if (wish.head === 'token') {
      // With a ladder of one model, or with models.teacher, the first is a student, too.
      ladder.forEach(({ model }, step) => {
        if ((step > 0 || ladder.length === 1 || teacher !== undefined) && lacksToken(model)) problems.push({ path: ['models', 'ladder', step, 'model'], message: noToken('training.distill.head') });
      });
    }
  }
  comparisons.forEach(({ model, labels: learned, kind, distill }, at) => {
    const path = ['comparisons', at, 'distill'];
    if (distill !== undefined && distill !== 'none' && (learned !== 'pseudo' || kind !== undefined)) problems.push({ path, message: 'is of what a teacher says of its pseudo-labeled images: leave it out, or labels and kind' });
    const own = learned !== 'pseudo' || kind !== undefined || distill === 'none' ? undefined : distill ?? wish;
    if (own === undefined) return;
    if (distill !== undefined) problems.push(...onlineProblems(recipe, own, path));
    const trained = model?.model ?? ladder.at(-1)?.model ?? '';
    if (own.head === 'token' && (distill !== undefined || model !== undefined) && lacksToken(trained)) problems.push({ path: model === undefined ? [...path, 'head'] : ['comparisons', at, 'model', 'model'], message: noToken('distill.head') });
  });
  return problems;
}

function onlineProblems({ models: { teacher }, labels, training: { fine_tune: tuned } }: Wish, wish: Distill, at: (string | number)[]): Problem[] {
  if (wish.teacher !== 'online') return [];
  const path = [...at, 'teacher'];
  const problems: Problem[] = [];
  if (teacher !== undefined) problems.push({ path, message: 'can\'t be online with models.teacher: a model from elsewhere is no part of a training step here. Write stored' });
  if (labels.noised_teacher) problems.push({ path, message: 'can\'t be online beside labels.noised_teacher: within a step a teacher has no noise of its own' });
  if (tuned?.teaches === true && tuned.image !== undefined) problems.push({ path, message: 'can\'t be online where training.fine_tune gives teachers images of another size than their students\': write stored' });
  return problems;
}
