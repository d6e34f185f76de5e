/**
 * What a run of the plan asks for beyond its stages: comparisons, compression, distillation, corrupted sets, a look for
 * near-duplicates, and labels that a person brings in the midst of it. Each is often absent, so that the others are met alone.
 */
import type { RecipeInput } from '../../recipe/index.ts';
import type { Random } from './world.ts';

export interface Wishes {
  readonly comparisons: NonNullable<RecipeInput['comparisons']>;
  readonly compress: RecipeInput['compress'];
  readonly distill: NonNullable<RecipeInput['training']>['distill'];
  /** Names of corruptions; none: no corrupted sets. */
  readonly corrupted: readonly string[];
  /** With corrupted sets. */
  readonly corruptionErrorMost: number | undefined;
  readonly nearDuplicates: boolean;
  /** When a person brings labels, in milliseconds after the submission, one review after another. */
  readonly reviewsAtMs: readonly number[];
}

type Comparison = Wishes['comparisons'][number];

/** Without anything of its own, `same` comes to the student's very bytes. */
const COMPARISONS: readonly Comparison[] = [
  { name: 'same' }, { name: 'alone', labels: 'none' }, { name: 'hard', kind: 'hard' }, { name: 'short', steps: 1_300 }, { name: 'small', model: { model: 'cnn', width: 8 } as never },
  { name: 'distilled', distill: { teacher: 'stored', temperature: 2 } },
];
/** What only true labels let a run compare. */
const OF_TRUTH: Comparison = { name: 'oracle', labels: 'truth', label_noise: 0.1 };

/** @param slowness of the world's times */
export function drawWishes(random: Random, { rounds, truth }: { readonly rounds: number; readonly truth: boolean }, slowness: number): Wishes {
  const corrupted = random.chance(0.2) ? random.pick([['fog'], ['fog', 'noise_sequence']]) : [];
  const some = (): Comparison[] => {
    const from = [...COMPARISONS, ...(truth ? [OF_TRUTH, OF_TRUTH] : [])];
    return [...new Set(Array.from({ length: random.whole(1, 2) }, () => random.pick(from)))];
  };
  return {
    corrupted, corruptionErrorMost: corrupted.length > 0 && random.chance(0.5) ? random.magnitude(0.8, 1.25) : undefined,
    nearDuplicates: random.chance(0.3),
    // With no rounds there are no students to compare, to measure, to distill into, nor to learn what a person says.
    ...(rounds === 0 ? { comparisons: [], compress: undefined, distill: undefined, reviewsAtMs: [] } : {
      comparisons: random.chance(0.35) ? some() : [],
      compress: random.chance(0.3) ? { accuracy_kept: random.magnitude(0.9, 1), weights: random.pick([['float32', 'float16', 'int8'], ['int8', 'float32'], ['float16']] as const).slice() } : undefined,
      distill: random.chance(0.2) ? { teacher: random.pick(['stored', 'online'] as const) } : undefined,
      reviewsAtMs: random.chance(0.3) ? Array.from({ length: random.whole(1, 3) }, () => Math.round(random.magnitude(1_000, 120_000) * slowness)).sort((a, b) => a - b) : [],
    }),
  };
}
