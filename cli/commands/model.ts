/** `alumnus model`: where a model comes from, and whether it comes out again. */
import type { Command } from 'commander';
import { declareGroup } from '../command.ts';
import type { Context } from '../context.ts';
import { addModelLineage } from './model/lineage.ts';
import { addModelReproduce } from './model/reproduce.ts';

export function addModel(program: Command, context: Context): void {
  const group = declareGroup(program, 'model', { summary: 'Tell a model\'s lineage, and make it again to compare', examples: ['alumnus model lineage mnist-4f2a91', 'alumnus model reproduce mnist-4f2a91/1'] });
  addModelLineage(group, context);
  addModelReproduce(group, context);
}
