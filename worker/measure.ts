/**
 * A program of its own: what a model costs where it runs (cost.ts). `alumnus run measure` and the task of that name start it, so that its memory is the model's and its threads are its own.
 * Usage: node measure.js DOCUMENT WEIGHTS [--threads N] [--times N]. Writes lines of JSON: `{ done, total }` as it goes, last `{ measured }`.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { AlumnusError } from '../proto/errors.ts';
import { answer, tell } from '../proto/program.ts';
import { measured } from './cost.ts';

async function main(args: string[]): Promise<void> {
  const { values, positionals: [document, weights] } = parseArgs({ args, allowPositionals: true, options: { threads: { type: 'string', default: '1' }, times: { type: 'string', default: '200' } } });
  const [threads, times] = [Number(values.threads), Number(values.times)];
  if (document === undefined || weights === undefined || !(threads >= 1) || !(times >= 1)) throw new AlumnusError('USAGE', 'name a model document and its weights, at least one thread and one prediction');
  tell({ measured: await measured(await readFile(document), await readFile(weights), { threads, times, told: (done, total) => tell({ done, total }) }) });
}

answer(() => main(process.argv.slice(2)));
