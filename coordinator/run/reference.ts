/**
 * A submission whose data lies in the bucket: what is journalled names it by digest, what is folded holds it. Pure; who
 * reads and writes the data is coordinator/run-data.ts. A fact without a reference holds its data and is left as it is.
 */
import type { Event, RunData } from '../../proto/gen/alumnus/v1/events.ts';
import type { ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';

type Submitted = Extract<NonNullable<Event['fact']>, { $case: 'runSubmitted' }>;

const submissionOf = ({ fact }: Event): Submitted['value'] | undefined => (fact?.$case === 'runSubmitted' && fact.value.dataRef !== undefined ? fact.value : undefined);

/** Where the fact's data lies; undefined for every fact that holds all it says. */
export const dataRefOf = (event: Event): ObjectRef | undefined => submissionOf(event)?.dataRef;

/** The fact as the journal, manifests and other systems have it. */
export function journalled(event: Event): Event {
  const submitted = submissionOf(event);
  return submitted?.data === undefined ? event : withData(event, submitted, undefined);
}

/** The fact as `evolve` takes it. */
export function hydrated(event: Event, data: RunData): Event {
  const submitted = submissionOf(event);
  return submitted === undefined ? event : withData(event, submitted, data);
}

const withData = (event: Event, submitted: Submitted['value'], data: RunData | undefined): Event => ({ ...event, fact: { $case: 'runSubmitted', value: { ...submitted, data } } });
