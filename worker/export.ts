/**
 * A program of its own: turns a model's document and weights, as a run keeps them, into TF.js layers format. `alumnus run export
 * --format tfjs` starts it, because it needs TensorFlow, which the command line never loads. Not for: finding the model, or checking digests.
 * Usage: node export.js DOCUMENT WEIGHTS FOLDER. Ends with the error table's code and a sentence of it on stderr.
 */
import { readFile } from 'node:fs/promises';
import { AlumnusError, errorTable, toAlumnusError } from '../proto/errors.ts';
import type { Architecture } from '../recipe/index.ts';
import { decodeWeights, saveLayersFormat } from './learning/index.ts';
import { loadTensorFlow } from './tensorflow/index.ts';

async function main([document, weights, folder]: readonly (string | undefined)[]): Promise<void> {
  if (document === undefined || weights === undefined || folder === undefined) throw new AlumnusError('USAGE', 'name a model document, its weights and a folder');
  const { architecture } = JSON.parse(await readFile(document, 'utf8')) as { readonly architecture: Architecture };
  loadTensorFlow({ threads: 1 });
  await saveLayersFormat(architecture, decodeWeights(await readFile(weights)), folder);
}

main(process.argv.slice(2)).catch((thrown: unknown) => {
  const error = toAlumnusError(thrown);
  process.stderr.write(`${error.code === 'INTERNAL' ? error.stack : error.sentence}\n`);
  process.exit(errorTable[error.code].exit);
});
