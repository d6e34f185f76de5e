/**
 * The one public door to TensorFlow: loads the native library, compiles pure functions over tensors into graphs, and
 * offers the TensorFlow operations that tfjs has no name for. Only an engine process may call `loadTensorFlow`;
 * importing this door loads nothing.
 * Not for: models, losses, noise; see ../learning.
 */
export { attribute, attributeKind, dataTypeCode, GraphWriter, type AttributeValue } from './graph.ts';
export { loadTensorFlow } from './load.ts';
export type { LoadOptions, Tensor, Tensor4D, TensorFlow } from './load.ts';
export { compile, fixed, interpret } from './program.ts';
export type { DataType, Executable, HostArray, Program, Tensors, TensorSpec } from './program.ts';
export * as operations from './operations.ts';
