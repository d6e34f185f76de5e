/**
 * A program of its own: what a model costs where it runs. `alumnus run measure` starts it, so that its memory is the model's and its threads are its own.
 * Latency is of our predictor at batch 1, bytes in, log-probabilities out, after predictions that do not count. Peak memory is the process's (resident, on a GPU without the device's own), TensorFlow's libraries included;
 * how much of it there was before the model is told beside it. Bytes are those of the model's own files in each format, without document and README.
 * Not for: images a second of large batches, training, other runtimes than ours.
 * Usage: node measure.js DOCUMENT WEIGHTS [--threads N] [--times N]. Writes lines of JSON: `{ done, total }` as it goes, last `{ measured }`.
 */
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { AlumnusError } from '../proto/errors.ts';
import { answer, tell } from '../proto/program.ts';
import type { Measured } from '../proto/told.ts';
import { multiplyAdds, parameterCount } from '../recipe/index.ts';
import { createPredictor, decodeWeights } from './learning/index.ts';
import { modelBytes, portableFormats, weightSchemes, type PortableModel } from './portable/index.ts';
import { loadTensorFlow } from './tensorflow/index.ts';

/** The first predictions lay out weights and fill caches. */
const WARM_UP = 10;
/** A bar that moves, and few lines. */
const TELL_EVERY = 10;

/** The value that so much of them does not exceed (nearest rank). @param sorted ascending */
const quantile = (sorted: readonly number[], share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;

async function main(args: string[]): Promise<void> {
  const { values, positionals: [document, weights] } = parseArgs({ args, allowPositionals: true, options: { threads: { type: 'string', default: '1' }, times: { type: 'string', default: '200' } } });
  const [threads, times] = [Number(values.threads), Number(values.times)];
  if (document === undefined || weights === undefined || !(threads >= 1) || !(times >= 1)) throw new AlumnusError('USAGE', 'name a model document and its weights, at least one thread and one prediction');
  const stored = await readFile(document);
  const model = JSON.parse(stored.toString('utf8')) as PortableModel;
  const { architecture } = model;
  const { tf } = loadTensorFlow({ threads });
  const withoutModel = process.memoryUsage().rss;
  const tensors = decodeWeights(await readFile(weights));
  const predictor = await createPredictor(architecture, tensors, 1);
  const { height, width, channels } = architecture.input;
  const image = Uint8Array.from({ length: height * width * channels }, (_, at) => Math.imul(at + 1, 2654435761) >>> 24);
  const total = WARM_UP + times;
  const each: number[] = [];
  for (let done = 0; done < total; done += 1) {
    if (done % TELL_EVERY === 0) tell({ done, total });
    const start = performance.now();
    await predictor.logProbabilities(image, 1);
    if (done >= WARM_UP) each.push(performance.now() - start);
  }
  // In kilobytes, whatever the system counts in. Before files are written, which takes memory of its own.
  const peak = process.resourceUsage().maxRSS * 1024;
  predictor.dispose();
  each.sort((a, b) => a - b);
  const measured: Measured = {
    model: architecture.model.name, parameters: parameterCount(architecture), multiplyAdds: multiplyAdds(architecture),
    bytes: Object.fromEntries(portableFormats.map(format => [format, Object.fromEntries(weightSchemes.map(scheme => [scheme, modelBytes(model, tensors, format, scheme)]))])),
    latencyMs: { p50: quantile(each, 0.5), p95: quantile(each, 0.95), predictions: times },
    memoryBytes: { peak, withoutModel },
    // TensorFlow's binding tells that it uses a GPU, and not which.
    device: (tf.backend() as unknown as { isUsingGpuDevice: boolean }).isUsingGpuDevice ? 'GPU' : cpus()[0]?.model ?? 'unknown processor',
    threads,
  };
  tell({ measured });
}

answer(() => main(process.argv.slice(2)));
