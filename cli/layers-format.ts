/**
 * A model in TF.js layers format, written by the worker's own program for it (worker/export.ts) in a process of its own, since the
 * command line never loads TensorFlow.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AlumnusError } from '../proto/errors.ts';
import { fromSentence, programPath } from './processes.ts';

/** Loading TensorFlow takes seconds, and writing the largest model a minute: beyond it something hangs. */
const EXPORT_MS_MAX = 10 * 60_000;

/**
 * The files `model.json` and `weights.bin`.
 * @param document the model document @param weights safetensors, as stored
 * @throws AlumnusError ENGINE_UNAVAILABLE; RECIPE_INVALID where TF.js has no such layers
 */
export async function layersFormat(document: Uint8Array, weights: Uint8Array): Promise<{ model: Uint8Array; weights: Uint8Array }> {
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-export-'));
  try {
    const [from, of, to] = ['document.json', 'weights.safetensors', 'tfjs'].map((name) => join(folder, name)) as [string, string, string];
    await writeFile(from, document);
    await writeFile(of, weights);
    await run(programPath('worker', 'export'), [from, of, to]);
    return { model: await readFile(join(to, 'model.json')), weights: await readFile(join(to, 'weights.bin')) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, ...args], { timeout: EXPORT_MS_MAX }, (error, _out, err) => {
      if (error === null) return resolve();
      const last = err.trimEnd().split('\n').at(-1) ?? '';
      reject(fromSentence(last) ?? new AlumnusError('INTERNAL', `the exporting process ended by ${error.signal ?? `exit code ${error.code ?? 'unknown'}`}: ${last}`, { cause: error }));
    });
  });
}
