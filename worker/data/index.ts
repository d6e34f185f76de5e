/** The public door of `worker/data`: shards as pixels, labels as tables, which of them a student trains on, and in what order. */
export { batcher, eachImage, loadLabeled, loadSelected, type BatchPlan, type TrainingBatch, type TrainingSet } from './batches.ts';
export { decodedShard, type DecodedShard } from './decoded.ts';
export { labelsOf, readLabelColumns, readLabelTable, topOf, writeLabelTable, type Labels, type LabelsWithProbabilities } from './label-table.ts';
export { permuted, sampleAt } from './order.ts';
export { confidenceBins, confidenceEdges } from './confidence.ts';
export { readSelection, readSelectionPart, select, type SelectionDocument, type SelectionPart, type SelectRequest } from './select.ts';
export { isEligible, logOddsOf, planSelection, SelectionCutter, type ClassPlan, type SelectionPolicy } from './selection.ts';
export { addTally, BIN_FROM, BIN_WIDTH, binOf, BINS, decodeTally, emptyTally, encodeTally, tallyOf, type Tally } from './tally.ts';
