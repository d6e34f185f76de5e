/** Bounds and kinds of numbers that several parts of a recipe share. */
import { z } from 'zod';

export const positiveInteger = (max: number) => z.int().min(1).max(max);
export const share = z.number().min(0).max(1);

/** Upper bound of steps of one training: beyond it a typing error is likelier than a wish. */
export const STEPS_MAX = 10_000_000;
export const BATCH_MAX = 65_536;
