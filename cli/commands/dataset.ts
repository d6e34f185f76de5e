/** `alumnus dataset`: bring images in, and look at what is there. Works on the object store; needs no coordinator. */
import type { Command } from 'commander';
import { declareGroup } from '../command.ts';
import type { Context } from '../context.ts';
import { addDatasetCorrupt } from './dataset/corrupt.ts';
import { addDatasetImport } from './dataset/import.ts';
import { addDatasetInspect } from './dataset/inspect.ts';
import { addDatasetList } from './dataset/list.ts';
import { addDatasetRegister } from './dataset/register.ts';
import { addDatasetVerify } from './dataset/verify.ts';

export function addDataset(program: Command, context: Context): void {
  const group = declareGroup(program, 'dataset', {
    summary: 'Import, register, corrupt, inspect and verify datasets',
    description: 'A dataset is a set of tar shards with labels and one manifest beside them; once imported it never changes. These commands work on the object store of the home folder, or the one that --store names.',
    examples: ['alumnus dataset import mnist', 'alumnus dataset list'],
  });
  addDatasetImport(group, context);
  addDatasetRegister(group, context);
  addDatasetCorrupt(group, context);
  addDatasetList(group, context);
  addDatasetInspect(group, context);
  addDatasetVerify(group, context);
}
