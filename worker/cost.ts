/**
 * What a model costs where it runs. Latency is of our predictor at batch 1, bytes in, log-probabilities out, after predictions that do not count. Peak memory is the process's (resident, on a GPU
 * without the device's own), TensorFlow's libraries included; how much of it there was before the model is told beside it. Bytes are those of the model's own files in each format, without document and README.
 * Not for: images a second of large batches, training, other runtimes than ours; nor a process of its own for it (measure.ts).
 */
import { cpus } from 'node:os';
import type { Measured } from '../proto/told.ts';
import { multiplyAdds, parameterCount, weightSchemes } from '../recipe/index.ts';
import { createPredictor, decodeWeights } from './learning/index.ts';
import { modelBytes, portableFormats, type PortableModel } from './portable/index.ts';
import { loadTensorFlow } from './tensorflow/index.ts';

/** The first predictions lay out weights and fill caches. */
const WARM_UP = 10;
/** A bar that moves, and few lines. */
const TELL_EVERY = 10;

/** The value that so much of them does not exceed (nearest rank). @param sorted ascending */
export const quantile = (sorted: readonly number[], share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;

export interface MeasureOptions {
  readonly threads: number;
  /** Predictions that count. */
  readonly times: number;
  told(done: number, total: number): void;
}

/**
 * @param document the model's, as stored @param weights safetensors, as stored
 * @throws AlumnusError ENGINE_UNAVAILABLE, DIGEST_MISMATCH
 */
export async function measured(document: Uint8Array, weights: Uint8Array, { threads, times, told }: MeasureOptions): Promise<Measured> {
  const model = JSON.parse(Buffer.from(document).toString('utf8')) as PortableModel;
  const { architecture } = model;
  const { tf } = loadTensorFlow({ threads });
  const withoutModel = process.memoryUsage().rss;
  const tensors = decodeWeights(weights);
  const predictor = await createPredictor(architecture, tensors, 1);
  const { height, width, channels } = architecture.input;
  const image = Uint8Array.from({ length: height * width * channels }, (_, at) => Math.imul(at + 1, 2654435761) >>> 24);
  const total = WARM_UP + times;
  const each: number[] = [];
  for (let done = 0; done < total; done += 1) {
    if (done % TELL_EVERY === 0) told(done, total);
    const start = performance.now();
    await predictor.logProbabilities(image, 1);
    if (done >= WARM_UP) each.push(performance.now() - start);
  }
  // In kilobytes, whatever the system counts in. Before files are written, which takes memory of its own.
  const peak = process.resourceUsage().maxRSS * 1024;
  predictor.dispose();
  each.sort((a, b) => a - b);
  return {
    model: architecture.model.name, parameters: parameterCount(architecture), multiplyAdds: multiplyAdds(architecture),
    bytes: Object.fromEntries(portableFormats.map(format => [format, Object.fromEntries(weightSchemes.map(scheme => [scheme, modelBytes(model, tensors, format, scheme)]))])),
    latencyMs: { p50: quantile(each, 0.5), p95: quantile(each, 0.95), predictions: times },
    memoryBytes: { peak, withoutModel },
    // TensorFlow's binding tells that it uses a GPU, and not which.
    device: (tf.backend() as unknown as { isUsingGpuDevice: boolean }).isUsingGpuDevice ? 'GPU' : cpus()[0]?.model ?? 'unknown processor',
    threads,
  };
}
