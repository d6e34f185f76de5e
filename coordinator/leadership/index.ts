/** The public door of `coordinator/leadership`: who may lead, and until when. */
export type { Holder, LeaderEntry } from './entry.ts';
export { embeddedEntry } from './embedded.ts';
export { openEntry, type EntryOptions } from './jetstream.ts';
export { Tenure } from './tenure.ts';
