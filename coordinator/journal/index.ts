/** The public door of `coordinator/journal`: the one truth about runs, and the engines that keep it. */
export { EVENT_SCHEMA_VERSION, GROUP_BYTES_MAX, schemaVersionOf, versionOfRecipe, type Journal } from './journal.ts';
export { openEmbedded } from './lmdb.ts';
export { openJetStream, type JetStreamOptions } from './jetstream.ts';
export { openFacts, type FactOptions, type FactSink } from './facts.ts';
