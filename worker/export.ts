/**
 * A program of its own: turns a model's document and weights, as a run keeps them, into another tool's format. `alumnus run export
 * --format …` starts it, because that needs TensorFlow (TF.js layers format) or the weights' memory several times, which the command line keeps free of both. Not for: finding the model, or checking digests.
 * Usage: node export.js DOCUMENT WEIGHTS FOLDER [--format FORMAT] [--weights SCHEME] [--page SAMPLES], where the folder SAMPLES holds images. Ends with the error table's code and a sentence of it on stderr.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { AlumnusError } from '../proto/errors.ts';
import { answer } from '../proto/program.ts';
import type { Architecture } from '../recipe/index.ts';
import { decodeWeights, saveLayersFormat } from './learning/index.ts';
import { portableFiles, portableFormats, weightSchemes } from './portable/index.ts';
import { loadTensorFlow } from './tensorflow/index.ts';

function oneOf<Name extends string>(names: readonly Name[], given: string, what: string): Name {
  const found = names.find(name => name === given);
  if (found === undefined) throw new AlumnusError('USAGE', `there is no ${what} ${given}; there is ${names.join(', ')}`);
  return found;
}

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { format: { type: 'string', default: 'tfjs' }, weights: { type: 'string', default: 'float32' }, page: { type: 'string' } } });
  const [document, weights, folder] = positionals;
  if (document === undefined || weights === undefined || folder === undefined) throw new AlumnusError('USAGE', 'name a model document, its weights and a folder');
  const stored = await readFile(document);
  const tensors = decodeWeights(await readFile(weights));
  if (values.format === 'tfjs') {
    const { architecture } = JSON.parse(stored.toString('utf8')) as { readonly architecture: Architecture };
    loadTensorFlow({ threads: 1 });
    return saveLayersFormat(architecture, tensors, folder);
  }
  const files = await portableFiles(stored, tensors, {
    format: oneOf(portableFormats, values.format, 'format'), scheme: oneOf(weightSchemes, values.weights, 'scheme of weights'),
    ...values.page === undefined ? {} : { page: { samples: await samplesIn(values.page) } },
  });
  for (const { name, content } of files) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
}

async function samplesIn(folder: string): Promise<{ extension: string; bytes: Uint8Array }[]> {
  const names = (await readdir(folder)).sort();
  return Promise.all(names.map(async name => ({ extension: extname(name).slice(1), bytes: await readFile(join(folder, name)) })));
}

answer(() => main(process.argv.slice(2)));
