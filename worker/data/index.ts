/** The public door of `worker/data`: shards as pixels, labels as tables, which of them a student trains on, and in what order. */
export { ahead, orAborted } from './ahead.ts';
export { trueLabels, type LabelOf } from './truth.ts';
export { MEMORY_BYTES, openBatches, type Batches, type BatchPlan, type Distilled, type SelectedPart, type TrainingBatch } from './batches.ts';
export { confidenceBins, confidenceEdges } from './confidence.ts';
export { decodedPieces, decodedShard, inBatches, READ_AHEAD_BYTES, type DecodedShard, type Reading } from './decoded.ts';
export { explainSample } from './explain.ts';
export { drift, type DriftRequest } from './drift.ts';
export { drawHeldOut, holdOut, type HeldOutPart } from './hold-out.ts';
export { labeledPieces, type LabeledPiece } from './labeled.ts';
export { labelsOf, readLabelColumns, readLabelTable, topOf, writeLabelTable, type Labels, type LabelsWithProbabilities } from './label-table.ts';
export { BlockOrder, permuted, sampleAt, type Place, type ShardSize } from './order.ts';
export { readSelection, readSelectionPart, select, type SelectionDocument, type SelectionPart, type SelectRequest } from './select.ts';
export { isEligible, logOddsOf, planSelection, SelectionCutter, standingOf, type ClassPlan, type SelectionPolicy } from './selection.ts';
export type { LeftOut, Source } from './source.ts';
export { addTally, BIN_FROM, BIN_WIDTH, binOf, BINS, decodeTally, emptyTally, encodeTally, tallyOf, type Tally } from './tally.ts';
