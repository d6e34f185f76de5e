/** Learning-rate schedules: pure functions of the step. Not for: optimizers. */
import { named } from './named.ts';
import type { ScheduleSettings, TrainingSettings } from './types.ts';

/**
 * EfficientNet and the published Noisy Student code multiply by 0.97 every 2.4 epochs of 350, that is 146 times;
 * over a training of any length that is the factor 0.97^(146 x share done), about 1/85 at the end.
 */
const exponentialDecays = 350 / 2.4;

/** What is left of the rate after the warm-up, by the share of the steps behind it that is done. */
const decays: Readonly<Record<ScheduleSettings['name'], (share: number, step: number, schedule: ScheduleSettings) => number>> = {
  constant: () => 1,
  cosine: (share) => 0.5 * (1 + Math.cos(Math.PI * share)),
  exponential: (share, step, { decayFactor, decaySteps }) => decayFactor ** (decaySteps > 0 ? Math.floor(step / decaySteps) : exponentialDecays * share),
};

/**
 * The rate of `step` (0 to steps - 1). It rises linearly over `warmupSteps`, reaching its peak with the last of them;
 * then `cosine`: half a cosine to 0 (Loshchilov and Hutter, arXiv 1608.03983, equation 5, one cycle), `constant`, or
 * `exponential`: with `decaySteps` in stairs counted from step 0, as the published code (`tf.train.exponential_decay`,
 * `staircase=True`), without evenly after the warm-up. @throws AlumnusError CODE_OUTDATED
 */
export function learningRateAt(step: number, { schedule, optimizer: { learningRate }, steps }: Pick<TrainingSettings, 'steps' | 'optimizer' | 'schedule'>): number {
  const { name, warmupSteps } = schedule;
  if (step < warmupSteps) return learningRate * (step + 1) / warmupSteps;
  return learningRate * named(decays, 'schedule', name)((step - warmupSteps) / Math.max(1, steps - warmupSteps), step, schedule);
}
