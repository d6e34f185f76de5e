/**
 * What a model costs where it runs, measured by the worker's own program for it (worker/measure.ts) in a process of its own, whose memory is the model's alone.
 * Not for: finding the model.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { invariant } from '../proto/errors.ts';
import type { Measured } from '../proto/told.ts';
import { ask } from './helper.ts';

/**
 * @param document the model document @param weights safetensors, as stored
 * @param told how many predictions are done
 * @throws AlumnusError ENGINE_UNAVAILABLE, DIGEST_MISMATCH; CANCELLED by `signal`
 */
export async function measuredModel(document: Uint8Array, weights: Uint8Array, { threads, times, signal }: { threads: number; times: number; signal: AbortSignal }, told: (done: number, total: number) => void): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-measure-'));
  try {
    const [from, of] = ['document.json', 'weights.safetensors'].map((name) => join(folder, name)) as [string, string];
    await writeFile(from, document);
    await writeFile(of, weights);
    let measured: Measured | undefined;
    await ask({
      program: 'worker', file: 'measure', arguments: [from, of, '--threads', String(threads), '--times', String(times)], request: {}, signal,
      onLine: (line) => {
        if ('measured' in line) measured = line.measured as Measured;
        else told(Number(line['done']), Number(line['total']));
      },
    });
    invariant(measured !== undefined, 'the program told what it measured before it ended well');
    return measured;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
