/** A group of facts as the engines keep it: its bytes, and what is refused before anything is decided from it. */
import { AlumnusError } from '../../proto/errors.ts';
import { EventGroup } from '../../proto/gen/alumnus/v1/events.ts';
import { EVENT_SCHEMA_VERSION, schemaVersionOf } from './journal.ts';

export const encodeGroup = (group: Omit<EventGroup, 'schemaVersion'>): Uint8Array => EventGroup.encode({ ...group, schemaVersion: schemaVersionOf(group.events) }).finish();

/** Sequence of the group's last event; of a group that begins a term, of the last event before it. */
export const lastOf = (group: EventGroup): number => group.firstSequence + group.events.length - 1;

/** @throws AlumnusError JOURNAL_UNREADABLE */
export function decodeGroup(bytes: Uint8Array, where: string): EventGroup {
  let group: EventGroup;
  try {
    group = EventGroup.decode(bytes);
  } catch (thrown) {
    throw new AlumnusError('JOURNAL_UNREADABLE', 'a group of facts cannot be decoded', { where, cause: thrown });
  }
  if (group.schemaVersion > EVENT_SCHEMA_VERSION) throw new AlumnusError('JOURNAL_UNREADABLE', `it is of schema ${group.schemaVersion}, this release reads up to ${EVENT_SCHEMA_VERSION}`, { where });
  return group;
}
