/**
 * The one public door to learning: training a noised model, predicting with a clean one, and the words both are
 * described in. Importing it loads no TensorFlow; `train` and `createPredictor` do, and belong in an engine process.
 * Not for: data, labels, selection, evaluation.
 */
export { decodeCheckpoint, decodeMerged, encodeCheckpoint, encodeMerged } from './checkpoint.ts';
export { imageNoise, trainingNoise } from './noise/index.ts';
export type { HeldOut } from './early-stop.ts';
export { knownModel } from './named.ts';
export { resizedPositions } from './positions.ts';
export { createNoisedPredictor, createPredictor, eachBatch } from './predict.ts';
export type { NoisedPredictor, Predictor } from './predict.ts';
export { mergedAtStart, outerStep, replicaVariables, type OuterStep } from './outer.ts';
export { averagedWeights } from './step.ts';
export { compileStep, train } from './train.ts';
export type { CompiledStep, Trained, TrainingHooks } from './train.ts';
export { CALIBRATION_BINS, calibrationError, confidencesAt, fitTemperature, negativeLogLikelihood, TEMPERATURE_MAX, TEMPERATURE_MIN, type Predicted } from './calibration.ts';
export { argmax, discordant, flips, scoreByClass, type ClassCount } from './metrics.ts';
export { loadLayersFormat, savedArchitecture, saveLayersFormat } from './layers-format.ts';
export { decodeWeights, encodeWeights } from './weights.ts';
export type { Batch, EarlyStopSettings, Erasing, ImageNoise, InputNoise, Merged, MergedRound, Mixing, OnlineTeacher, OptimizerSettings, PredictingHead, ScheduleSettings, TensorData, TrainingProgress, TrainingSettings, TrainingState } from './types.ts';
