/**
 * import: the first teacher from elsewhere, in the place of a training. Its files are copied to the store by digest, below this
 * task; then it is opened from that copy, as every worker will, held against recipe and data, and shown a few labeled images.
 * What does not fit is said here, once, before anything is labeled. How good it is, is the evaluation's to say.
 */
import type { ImportResult, ImportSpec, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { ForeignTeacher } from '../../recipe/index.ts';
import type { ImageShape } from '../../dataset/index.ts';
import { decodedPieces, inBatches } from '../data/index.ts';
import { agreeOnInput, agreeOnKind, agreeOnOutput, bounded, filesOf, outputOf, type Values } from '../foreign/index.ts';
import { aboutOf, required, shapeOf, type TaskContext } from './context.ts';
import { openForeign, writeForeign, type ForeignFile } from './model.ts';

/** Images that the model is shown: enough to tell logits from probabilities. */
const PROBE_IMAGES = 32;

export async function importTeacher(context: TaskContext, spec: ImportSpec): Promise<ImportResult> {
  const { store, task, signal } = context;
  const teacher = JSON.parse(spec.teacherJson) as ForeignTeacher;
  const image = shapeOf(spec.image);
  const { classNames } = spec;
  const { format, files } = await filesOf(teacher, signal);
  const kept: ForeignFile[] = [];
  const sofar = { bytes: 0 };
  for (const { path, read } of files) {
    signal.throwIfAborted();
    const content = bounded(read(), sofar, (bytes) => context.progress({ done: bytes, total: 0, unit: 'bytes', rate: 0, loss: 0 }));
    kept.push({ path, ref: await store.putAddressed(task.outputPrefix, content, { extension: '.model', metadata: aboutOf(context) }) });
  }
  const probe = await firstImages(context, required(spec.probe, 'probe'), image);
  return context.onDevice(async () => {
    const model = await openForeign(store, format, kept);
    try {
      const { input, notes } = agreeOnInput(format, model.inputs, teacher.input, image);
      const { name, indices } = agreeOnOutput(model.outputs, teacher, classNames);
      const count = input.batch ?? probe.count;
      const raw = outputOf(model, input, name, image, count);
      let given: Values;
      try {
        given = await raw.run(repeated(probe, count, image));
      } finally {
        raw.dispose();
      }
      const { output, notes: more } = agreeOnKind(given, count, name, teacher, indices, classNames);
      for (const note of [...notes, ...more]) context.note(note);
      const { parameters } = model;
      const document = await writeForeign(context, {
        format, files: kept, image, classNames, input, output, ...(parameters === undefined ? {} : { parameters }),
        lineage: { run: task.runId, iteration: task.iteration, task: task.taskId, url: teacher.url.replace(/[?#].*$/s, '') },
      });
      return { model: document, parameters, notes: [...notes, ...more] };
    } finally {
      model.dispose();
    }
  });
}

interface Probe {
  readonly count: number;
  /** `[count, height, width, channels]` */
  readonly images: Uint8Array;
}

async function firstImages({ store, cacheFolder, signal }: TaskContext, shard: ShardRef, shape: ImageShape): Promise<Probe> {
  const batches = inBatches(decodedPieces({ store, shape, cacheFolder, signal }, shard), PROBE_IMAGES);
  try {
    const first = await batches.next();
    return first.done === true ? { count: 1, images: new Uint8Array(shape.height * shape.width * shape.channels) } : { count: first.value.keys.length, images: first.value.images };
  } finally {
    await batches.return();
  }
}

/** `count` images, the probe's again and again: a model with a batch of its own takes no fewer. */
function repeated({ count: have, images }: Probe, count: number, { height, width, channels }: ImageShape): Uint8Array {
  const size = height * width * channels;
  const result = new Uint8Array(count * size);
  for (let at = 0; at < count; at += 1) result.set(images.subarray((at % have) * size, (at % have + 1) * size), at * size);
  return result;
}
