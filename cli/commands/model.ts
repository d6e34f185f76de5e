/** `alumnus model`: which models there are, what each is and where it comes from, and whether it comes out again. */
import type { Command } from 'commander';
import { declareGroup } from '../command.ts';
import type { Context } from '../context.ts';
import { addModelDescribe } from './model/describe.ts';
import { addModelExport } from './model/export.ts';
import { addModelLineage } from './model/lineage.ts';
import { addModelList } from './model/list.ts';
import { addModelReproduce } from './model/reproduce.ts';

export function addModel(program: Command, context: Context): void {
  const group = declareGroup(program, 'model', { summary: 'List models, tell what each is and its lineage, write it to files, make it again to compare', examples: ['alumnus model list', 'alumnus model lineage mnist-4f2a91', 'alumnus model reproduce mnist-4f2a91/1'] });
  addModelList(group, context);
  addModelDescribe(group, context);
  addModelLineage(group, context);
  addModelExport(group, context);
  addModelReproduce(group, context);
}
