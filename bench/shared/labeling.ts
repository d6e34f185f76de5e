/** What benchmarks label: made-up images in shards of a store in a folder, a teacher of made-up weights, and label tasks as a worker does them. Not for: measuring. */
import { pathToFileURL } from 'node:url';
import type { ImageShape } from '../../dataset/index.ts';
import { writeShard } from '../../dataset/shards.ts';
import { AlumnusError } from '../../proto/errors.ts';
import { Stage, Task, type ObjectRef, type ShardRef, type TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { parameterCount, parameterSpecs, type Architecture } from '../../recipe/index.ts';
import { openStore, type ObjectStore } from '../../store/index.ts';
import { LabelThread } from '../../worker/engine/label-thread.ts';
import { Turnstile } from '../../worker/engine/turnstile.ts';
import type { TensorData } from '../../worker/learning/index.ts';
import { machineOf, type TaskContext } from '../../worker/tasks/index.ts';
import { writeModel } from '../../worker/tasks/model.ts';

/** As a worker has them: a task on the device, the next one loading, and one whose labels are written. */
const slots = 3;

/** A smooth shape on dark ground and a little noise: it compresses as photographs and digits do. */
export function picture(number: number, { height, width, channels }: ImageShape): Uint8Array {
  const pixels = new Uint8Array(height * width * channels);
  const [x0, y0, radius] = [(0.3 + ((number * 37) % 41) / 100) * width, (0.3 + ((number * 53) % 43) / 100) * height, (0.15 + (number % 17) / 100) * width];
  let state = number + 1;
  for (let at = 0; at < pixels.length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const [x, y] = [Math.floor(at / channels) % width, Math.floor(at / channels / width)];
    const ink = Math.max(0, 1 - Math.abs(Math.hypot(x - x0, y - y0) - radius) / (0.08 * width));
    pixels[at] = Math.floor(ink * (150 + 40 * (at % channels))) + (channels === 1 ? 0 : state >>> 28);
  }
  return pixels;
}

export interface Shelf {
  readonly store: ObjectStore;
  readonly url: string;
  readonly shards: readonly ShardRef[];
}

export async function writeShards(folder: string, shape: ImageShape, { shards, samplesPerShard, extension, encode }: { shards: number; samplesPerShard: number; extension: 'png' | 'jpg'; encode: (pixels: Uint8Array, shape: ImageShape) => Promise<Uint8Array> }): Promise<Shelf> {
  const url = pathToFileURL(folder).href;
  const store = await openStore(url);
  const refs: ShardRef[] = [];
  for (let shard = 0; shard < shards; shard += 1) {
    const samples = await Promise.all(Array.from({ length: samplesPerShard }, async (_, at) => ({ key: `s${shard}-${at}`, extension, bytes: await encode(picture(shard * samplesPerShard + at, shape), shape) })));
    refs.push(await writeShard(store, 'bench', 'unlabeled', shard, samples));
  }
  return { store, url, shards: refs };
}

export const contextOf = (store: ObjectStore, task: Task, cacheFolder: string, device: Turnstile): TaskContext => ({
  task, store, cacheFolder, signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (work) => device.pass(work),
});

/** Biases and statistics are no zeros and ones either, which a graph's optimizer would leave out. */
export const madeUpWeights = (architecture: Architecture): TensorData[] => parameterSpecs(architecture).map(({ name, shape }, number) => {
  const values = Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, (_, at) => 0.05 * Math.sin(at * 12.9898 + number) + (/variance|scale/.test(name) ? 1 : 0));
  return { name, shape: [...shape], values };
});

export const writeTeacher = (store: ObjectStore, architecture: Architecture, weights: TensorData[]): Promise<ObjectRef> =>
  writeModel(contextOf(store, Task.fromPartial({ outputPrefix: 'runs/bench/teacher' }), '', new Turnstile()), {
    architecture, classNames: Array.from({ length: architecture.classes }, (_, at) => `c${at}`), parameters: parameterCount(architecture),
    lineage: { run: 'bench', iteration: 0, task: '', labeled: '', selection: '', training: {} },
  }, weights, '');

export const labelTask = (teacher: ObjectRef, shard: ShardRef, pass: number, batchSize: number): Task => Task.fromPartial({
  taskId: `label-${shard.name}-${pass}`, runId: 'bench', stage: Stage.LABEL, subject: shard.name, outputPrefix: `runs/bench/${pass}-${shard.name}`,
  spec: { $case: 'label', value: { teacher, shard, batchSize } },
});

/** Label tasks as an engine does them, on its label thread, whose predictions are made on this one. */
export class Labeler {
  readonly #thread: LabelThread;
  readonly #waiting = new Map<number, { readonly resolve: (result: TaskResult) => void; readonly reject: (error: Error) => void }>();
  #lastId = 0;

  constructor(cacheFolder: string, turnstile: Turnstile) {
    this.#thread = new LabelThread({
      cacheFolder, workerId: 'bench', machine: machineOf(1), turnstile,
      send: (message) => {
        if (message.kind === 'done') this.#waiting.get(message.id)?.resolve(message.result);
        if (message.kind === 'failed') this.#waiting.get(message.id)?.reject(new AlumnusError(message.code, message.message, { where: message.where }));
      },
    });
  }

  label(task: Task, storeUrl: string): Promise<TaskResult> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise<TaskResult>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#thread.run({ kind: 'run', id, task, storeUrl });
    }).finally(() => this.#waiting.delete(id));
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}

/** As a worker's lease loop. */
export async function pipeline(shards: readonly ShardRef[], label: (shard: ShardRef) => Promise<unknown>): Promise<void> {
  const waiting = [...shards];
  await Promise.all(Array.from({ length: slots }, async () => {
    for (let shard = waiting.shift(); shard !== undefined; shard = waiting.shift()) await label(shard);
  }));
}
