/**
 * Loads the native TensorFlow library once a process, quietly and with a fixed number of threads, and puts a tap on the
 * two doors through which every kernel of tfjs passes (`executeOp`, `createTensor`), for the tracer in program.ts.
 * Not for: deciding which process may load it, nor installing it (`npm run setup`).
 * Invariants:
 *   1. The environment is set before the library is read, because TensorFlow reads it once.
 *   2. The number of threads never changes within a process: sums are split by it, so results depend on it.
 */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type * as Library from '@tensorflow/tfjs-node-gpu';
import type { TensorMetadata, TFEOpAttr, TFJSBinding } from '@tensorflow/tfjs-node-gpu/dist/tfjs_binding.js';

export type Tensor = Library.Tensor;
export type Tensor4D = Library.Tensor4D;
export type Binding = TFJSBinding;
export type OperationAttribute = TFEOpAttr;

/** What the tracer is told while it listens. */
export interface Recorder {
  operation(name: string, attributes: readonly TFEOpAttr[], inputIds: readonly number[], outputs: readonly TensorMetadata[]): void;
  constant(id: number, shape: readonly number[], dataType: number, values: ArrayBufferView): void;
}

/** The members of tfjs-node's backend that its declarations call private, or leave out. */
export interface NodeBackend {
  binding: TFJSBinding;
  getInputTensorIds(tensors: readonly Tensor[]): number[];
  createOutputTensor(metadata: TensorMetadata): Tensor;
  executeMultipleOutputs(name: string, attributes: TFEOpAttr[], inputs: Tensor[], outputs: number): Tensor[];
}

export interface TensorFlow {
  readonly tf: typeof Library;
  readonly backend: NodeBackend;
  readonly binding: TFJSBinding;
  readonly threads: number;
  /** Runs `body` while `recorder` hears every operation and constant. Does not nest. */
  record<T>(recorder: Recorder, body: () => T): T;
}

export interface LoadOptions {
  /** Threads within one operation and across operations. Default: the cores this process may use. */
  threads?: number;
}

const packageName = '@tensorflow/tfjs-node-gpu';
let loaded: TensorFlow | undefined;

/**
 * The native library; the second call returns what the first loaded.
 * @throws AlumnusError ENGINE_UNAVAILABLE where it is missing or cannot be loaded.
 */
export function loadTensorFlow(options: LoadOptions = {}): TensorFlow {
  if (loaded !== undefined) {
    invariant(options.threads === undefined || options.threads === loaded.threads, 'the number of TensorFlow threads is fixed at the first load');
    return loaded;
  }
  const threads = options.threads ?? availableParallelism();
  invariant(Number.isInteger(threads) && threads >= 1, 'TensorFlow needs at least one thread');
  setEnvironment(threads);
  const tf = requireLibrary();
  tf.enableProdMode();
  const backend = tf.backend() as unknown as NodeBackend;
  loaded = tapped(tf, backend, threads);
  return loaded;
}

function setEnvironment(threads: number): void {
  process.env['TF_NUM_INTRAOP_THREADS'] = String(threads);
  process.env['TF_NUM_INTEROP_THREADS'] = String(threads);
  // Kernels that would add in the order in which threads happen to finish (mostly on GPUs) are replaced by ordered ones.
  process.env['TF_DETERMINISTIC_OPS'] ??= '1';
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
}

function requireLibrary(): typeof Library {
  const require = createRequire(import.meta.url);
  // tfjs-node 4.22 calls two functions that Node 23 removed from `util`.
  const util = require('node:util') as { isNullOrUndefined?: unknown; isArray?: unknown };
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  util.isArray ??= Array.isArray;
  try {
    return require(packageName) as typeof Library;
  } catch (cause) {
    const first = (cause instanceof Error ? cause.message : String(cause)).split('\n', 1)[0] ?? '';
    throw new AlumnusError('ENGINE_UNAVAILABLE', `the native TensorFlow library cannot be loaded: ${first}`, { where: packageName, cause });
  }
}

function tapped(tf: typeof Library, backend: NodeBackend, threads: number): TensorFlow {
  const native = backend.binding;
  let recorder: Recorder | undefined;
  // Everything but the three members below is the native object's own.
  const tap = Object.create(native) as TFJSBinding;
  Object.defineProperties(tap, {
    executeOp: {
      value: (name: string, attributes: TFEOpAttr[], inputIds: number[], outputs: number) => {
        const result = native.executeOp(name, attributes, inputIds, outputs);
        recorder?.operation(name, attributes, inputIds, result);
        return result;
      },
    },
    createTensor: {
      value: (shape: number[], dataType: number, values: Parameters<TFJSBinding['createTensor']>[2]) => {
        const id = native.createTensor(shape, dataType, values);
        if (recorder !== undefined) {
          invariant(ArrayBuffer.isView(values), 'a traced step uses numeric constants only');
          recorder.constant(id, shape, dataType, values);
        }
        return id;
      },
    },
    tensorDataSync: {
      value: (id: number) => {
        // A value read back would be baked into the graph as it happened to be while tracing.
        invariant(recorder === undefined, 'a traced step never reads a tensor back');
        return native.tensorDataSync(id);
      },
    },
  });
  backend.binding = tap;
  return {
    tf, backend, binding: tap, threads,
    record(next, body) {
      invariant(recorder === undefined, 'traces do not nest');
      recorder = next;
      // tfjs draws random numbers in JavaScript; within a trace such a draw would be frozen into the graph.
      const random = Math.random;
      Math.random = () => { throw new Error('invariant broken: a traced step draws from operations.randomUniform only'); };
      try {
        return body();
      } finally {
        Math.random = random;
        recorder = undefined;
      }
    },
  };
}
