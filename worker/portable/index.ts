/**
 * The door to models that leave the cluster: a prediction as a graph that needs no TensorFlow to be made, written as SavedModel, ONNX or TF.js graph model, with
 * kernels of fewer bytes where that is asked for. Not for: running what was written, finding a model.
 */
export { modelBytes, portableFiles, portableFormats, type ExportOptions, type PortableFormat } from './files.ts';
export { dequantizedWeights, inOrder, names, portableGraph, type Node, type PortableGraph } from './graph.ts';
export { onnxModel } from './onnx.ts';
export { weightSchemes, type WeightScheme } from '../../recipe/index.ts';
export { quantized } from './quantize.ts';
export { savedModel } from './savedmodel.ts';
export { tfjsGraph } from './tfjs.ts';
export type { PortableModel } from './types.ts';
