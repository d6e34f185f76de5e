/**
 * What a model costs where it runs, measured by the worker's own program for it (worker/measure.ts) in a process of its own, whose memory is the model's alone.
 * Not for: finding the model.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AlumnusError } from '../proto/errors.ts';
import { fromSentence, programPath } from './processes.ts';

/** As that program says it. Bytes by format, then by what kernels are stored in. */
export interface Measured {
  readonly model: string;
  readonly parameters: number;
  readonly multiplyAdds: number;
  readonly bytes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly predictions: number };
  readonly memoryBytes: { readonly peak: number; readonly withoutModel: number };
  readonly device: string;
  readonly threads: number;
}

/**
 * @param document the model document @param weights safetensors, as stored
 * @param told how many predictions are done
 * @throws AlumnusError ENGINE_UNAVAILABLE, DIGEST_MISMATCH; CANCELLED by `signal`
 */
export async function measuredModel(document: Uint8Array, weights: Uint8Array, { threads, times, signal }: { threads: number; times: number; signal?: AbortSignal }, told: (done: number, total: number) => void): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-measure-'));
  try {
    const [from, of] = ['document.json', 'weights.safetensors'].map((name) => join(folder, name)) as [string, string];
    await writeFile(from, document);
    await writeFile(of, weights);
    const child = spawn(process.execPath, [programPath('worker', 'measure'), from, of, '--threads', String(threads), '--times', String(times)], { stdio: ['ignore', 'pipe', 'pipe'], ...(signal === undefined ? {} : { signal }) });
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => { complaint = `${complaint}${text}`.slice(-10_000); });
    let measured: Measured | undefined;
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return;
      const said = JSON.parse(line) as { measured: Measured } | { done: number; total: number };
      if ('measured' in said) measured = said.measured;
      else told(said.done, said.total);
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', (error) => reject(signal?.aborted === true ? new AlumnusError('CANCELLED', 'the measurement was interrupted') : error));
      child.once('close', resolve);
    });
    if (measured !== undefined && code === 0) return measured;
    const last = complaint.trimEnd().split('\n').at(-1) ?? '';
    throw fromSentence(last) ?? new AlumnusError('INTERNAL', `the measuring process ended with ${code ?? 'a signal'}: ${last}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
