/**
 * ONNX models, by ONNX Runtime on the CPU. The package is large (its binaries for six platforms, 290 MB), so it is no
 * dependency of every installation: who labels with such a teacher installs it, of the version that is named here.
 * Field numbers: onnx/onnx.proto3.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as Runtime from 'onnxruntime-node';
import { AlumnusError } from '../../proto/errors.ts';
import { loadTensorFlow } from '../tensorflow/index.ts';
import { refused, unreadable, type ForeignModel, type Signature } from './model.ts';
import { entriesOf, fieldsOf, messagesOf, messageOf, numberOf, numbersOf, text } from './protobuf.ts';

/** The one that package.json pins for the tests, and the remedy of ONNX_UNAVAILABLE names. */
const packageName: string = 'onnxruntime-node';

export interface OnnxAbout {
  /** Of its initializers of floating point: weights and running statistics alike. */
  readonly parameters: number | undefined;
  /** Paths of files with its large tensors, relative to its own folder. */
  readonly external: readonly string[];
}

/** TensorProto.DataType: FLOAT, FLOAT16, DOUBLE, BFLOAT16. */
const floatTypes: ReadonlySet<number> = new Set([1, 10, 11, 16]);

/** @throws AlumnusError TEACHER_UNREADABLE */
export function aboutOnnx(model: Uint8Array): OnnxAbout {
  const external = new Set<string>();
  let parameters = 0;
  try {
    // ModelProto.graph 7; GraphProto: node 1, initializer 5; NodeProto.attribute 5; AttributeProto.t 5.
    const graph = messageOf(model, 7);
    if (graph === undefined) throw new Error('it holds no graph');
    for (const { number, bytes } of fieldsOf(graph)) {
      if (number === 5) {
        if (floatTypes.has(numberOf(bytes, 2))) parameters += [...numbersOf(bytes, 1)].reduce((product, size) => product * size, 1);
        addLocations(bytes, external);
      } else if (number === 1) {
        for (const attribute of messagesOf(bytes, 5)) for (const tensor of messagesOf(attribute, 5)) addLocations(tensor, external);
      }
    }
  } catch (thrown) {
    throw unreadable('the file is no ONNX model', thrown);
  }
  return { parameters: parameters === 0 ? undefined : parameters, external: [...external] };
}

/** TensorProto.external_data 13. */
function addLocations(tensor: Uint8Array, locations: Set<string>): void {
  for (const [key, value] of entriesOf(tensor, 13)) if (key === 'location') locations.add(text(value));
}

async function runtime(): Promise<typeof Runtime> {
  try {
    const loaded = (await import(packageName)) as typeof Runtime & { default?: typeof Runtime };
    return loaded.default ?? loaded;
  } catch (cause) {
    throw new AlumnusError('ONNX_UNAVAILABLE', `the teacher is an ONNX model, and ONNX Runtime cannot be loaded: ${(cause instanceof Error ? cause.message : String(cause)).split('\n', 1)[0] ?? ''}`, { where: packageName, cause });
  }
}

function signatureOf(each: Runtime.InferenceSession.ValueMetadata): Signature {
  if (!each.isTensor) return { name: each.name, dataType: 'no tensor', shape: undefined };
  // An empty list is what it says both of a scalar and of a shape that is not given; images are no scalars.
  const shape = each.shape.length === 0 ? undefined : each.shape.map((size) => (typeof size === 'number' && size >= 0 ? size : undefined));
  return { name: each.name, dataType: each.type, shape };
}

/** @throws AlumnusError TEACHER_UNREADABLE, ONNX_UNAVAILABLE */
export async function openOnnxModel(folder: string, paths: readonly string[]): Promise<ForeignModel> {
  const file = paths.find((path) => path.endsWith('.onnx'));
  if (file === undefined) throw new AlumnusError('TEACHER_UNREADABLE', 'no file of the model ends in .onnx', { where: 'models.teacher' });
  const { InferenceSession, Tensor } = await runtime();
  const { parameters } = aboutOnnx(await readFile(join(folder, file)));
  let session: Runtime.InferenceSession;
  try {
    // The same number of threads as TensorFlow has: sums are split by it. Errors only on stderr.
    session = await InferenceSession.create(join(folder, file), { executionProviders: ['cpu'], intraOpNumThreads: loadTensorFlow().threads, interOpNumThreads: 1, logSeverityLevel: 3 });
  } catch (thrown) {
    throw unreadable('ONNX Runtime cannot load the model', thrown);
  }
  return {
    inputs: session.inputMetadata.map(signatureOf), outputs: session.outputMetadata.map(signatureOf), parameters,
    async run(input, { values, shape }, output) {
      try {
        const { [output]: result } = await session.run({ [input]: new Tensor('float32', values, shape) }, [output]);
        if (result === undefined || !(result.data instanceof Float32Array)) throw new Error(`its output ${output} is no float32`);
        return { values: result.data, shape: result.dims };
      } catch (thrown) {
        throw refused(thrown);
      }
    },
    dispose: () => void session.release().catch(() => undefined),
  };
}
