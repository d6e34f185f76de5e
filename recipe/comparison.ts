/**
 * Comparisons: trainings beside the stages, each the last iteration's student with something else about it, that are evaluated and reported
 * and decide nothing. The control (`control: true`) is the one that every recipe can have without writing it: labels none, nothing else changed.
 */
import { z } from 'zod';
import { positiveInteger, STEPS_MAX } from './bounds.ts';
import { distillSchema } from './distill.ts';
import { modelChoice } from './model-choice.ts';
import { noiseSchema } from './noise.ts';

/** Each is a training: a sweep of more is an experiment, not a run. */
export const COMPARISONS_MAX = 64;

export const comparisonSchema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, 'use 1 to 32 of a-z, 0-9 and "-", beginning and ending with a letter or digit').describe('Of this comparison, in tables and charts.'),
    what: z.string().min(1).max(200).optional().describe('One sentence for the report: what it shows.'),
    model: modelChoice.optional().describe('The model that is trained. Default: the last student\'s.'),
    labels: z.enum(['pseudo', 'none', 'truth']).default('pseudo').describe('pseudo: the labels that the last student learns from. none: the labeled images alone, as many of them a step as the student sees images of both kinds. truth: the same images as the student\'s, with their true labels, where the dataset knows them: the upper bound of what labels can give; no other training reads them.'),
    label_noise: z.number().gt(0).max(1).optional().describe('Only with labels: truth. Share of the images whose true label is replaced by another class, drawn evenly among the others.'),
    kind: z.enum(['soft', 'hard']).optional().describe('Of pseudo-labels, instead of labels.kind.'),
    distill: z.union([z.literal('none'), distillSchema]).optional().describe('Instead of training.distill; none: of the pseudo-labels alone, as labels.kind has them. Default: as the student.'),
    noise: noiseSchema.optional().describe('Instead of the recipe\'s noise.'),
    steps: positiveInteger(STEPS_MAX).optional().describe('Instead of training.student.steps.'),
  })
  .superRefine((comparison, context) => {
    if (comparison.label_noise !== undefined && comparison.labels !== 'truth') context.addIssue({ code: 'custom', path: ['label_noise'], message: 'is drawn over true labels: write labels: truth, or leave it out' });
    if (comparison.kind !== undefined && comparison.labels !== 'pseudo') context.addIssue({ code: 'custom', path: ['kind'], message: 'is of pseudo-labels, and these are others' });
  });

export type Comparison = z.output<typeof comparisonSchema>;
