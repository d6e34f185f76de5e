/** The version of what workers write beside a task's outputs: one number for who writes records and who reads them. Not for: the schema of events, which is the journal's. */

/** Of records, and of what outputs say about themselves (`alumnus.schema`). A reader takes no newer ones. */
export const RECORD_SCHEMA_VERSION = 1;
