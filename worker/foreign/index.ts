/**
 * The one public door to models from elsewhere: finding their files, opening them in their own format, holding what they
 * take and give against the data, and predicting with them as with a model of ours. Importing it loads neither TensorFlow
 * nor ONNX Runtime; `openModel` does, and belongs in an engine process.
 * Not for: the store and the model document (worker/tasks/import.ts and model.ts).
 */
export { agreeOnInput, agreeOnKind, agreeOnOutput, type ForeignInput, type ForeignOutput } from './agreement.ts';
export { bounded, filesOf, type ModelFile } from './files.ts';
export type { ForeignModel, ModelFormat, Signature, Values } from './model.ts';
export { openModel } from './open.ts';
export { createForeignPredictor, outputOf, type RawOutput } from './predictor.ts';
