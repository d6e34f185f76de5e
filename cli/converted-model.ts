/**
 * A model in another tool's format, written by the worker's own program for it (worker/export.ts) in a process of its own, since the
 * command line never loads TensorFlow, nor a model's weights several times. Not for: finding the model.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromSentence } from '../proto/ask.ts';
import { AlumnusError } from '../proto/errors.ts';
import type { WeightScheme } from '../recipe/index.ts';
import { programPath } from './processes.ts';

/** Loading TensorFlow takes seconds, and writing the largest model a minute: beyond it something hangs. */
const EXPORT_MS_MAX = 10 * 60_000;

/** `tfjs`: TF.js layers format. */
export type ConvertedFormat = 'tfjs' | 'savedmodel' | 'onnx' | 'tfjs-graph';

export interface Conversion {
  readonly format: ConvertedFormat;
  readonly weights: WeightScheme;
  /** With a page that runs the model, which has these images to try it on. */
  readonly samples?: readonly SampleImage[] | undefined;
}

export interface SampleImage { readonly extension: string; readonly bytes: Uint8Array }

/** `name` may hold folders. What a reader opens first comes last. */
export interface ConvertedFile { readonly name: string; readonly content: Uint8Array }

const openedFirst: Readonly<Record<ConvertedFormat, string>> = { 'tfjs': 'model.json', 'savedmodel': 'saved_model.pb', 'onnx': 'model.onnx', 'tfjs-graph': 'model.json' };

/**
 * @param document the model document @param weights safetensors, as stored
 * @throws AlumnusError ENGINE_UNAVAILABLE; RECIPE_INVALID where TF.js has no such layers; EXPORT_IMPOSSIBLE
 */
export async function convertedModel(document: Uint8Array, weights: Uint8Array, { format, weights: scheme, samples }: Conversion): Promise<ConvertedFile[]> {
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-export-'));
  try {
    const [from, of, to, pictures] = ['document.json', 'weights.safetensors', 'converted', 'samples'].map((name) => join(folder, name)) as [string, string, string, string];
    await writeFile(from, document);
    await writeFile(of, weights);
    if (samples !== undefined) {
      await mkdir(pictures);
      await Promise.all(samples.map(({ extension, bytes }, at) => writeFile(join(pictures, `${String(at).padStart(3, '0')}.${extension}`), bytes)));
    }
    await run(programPath('worker', 'export'), [from, of, to, '--format', format, '--weights', scheme, ...samples === undefined ? [] : ['--page', pictures]]);
    const entries = await readdir(to, { recursive: true, withFileTypes: true });
    const names = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(to.length + 1)).sort();
    const first = openedFirst[format];
    return await Promise.all([...names.filter((name) => name !== first), first].map(async (name) => ({ name, content: await readFile(join(to, name)) })));
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
