/**
 * The one public door to learning: training a noised model, predicting with a clean one, and the words both are
 * described in. Importing it loads no TensorFlow; `train` and `createPredictor` do, and belong in an engine process.
 * Not for: data, labels, selection, evaluation.
 */
export { createPredictor } from './predict.ts';
export type { Predictor } from './predict.ts';
export { train } from './train.ts';
export type { Trained, TrainingHooks } from './train.ts';
export { CALIBRATION_BINS, calibrationError, confidencesAt, fitTemperature, negativeLogLikelihood, TEMPERATURE_MAX, TEMPERATURE_MIN, type Predicted } from './calibration.ts';
export { argmax, discordant, scoreByClass, type ClassCount } from './metrics.ts';
export { decodeWeights, encodeWeights } from './weights.ts';
export type { Batch, InputNoise, OptimizerSettings, ScheduleSettings, TensorData, TrainingProgress, TrainingSettings } from './types.ts';
