/** The objects that a task's result names: the one table of them. Not for: which of them a result must have, beyond what its kind says. */
import type { ObjectRef, TaskResult } from './gen/alumnus/v1/task.ts';

/**
 * Each under what it is. Undefined where the result lacks it though its kind has it; what only some tasks of a kind write (drift, the model of a last
 * merge) is listed where it is there.
 */
export function namedOutputs(result: TaskResult['result']): (readonly [name: string, ref: ObjectRef | undefined])[] {
  switch (result?.$case) {
    case 'label': return [['labels', result.value.labels], ['tally', result.value.tally]];
    case 'select': return [['selection', result.value.selection], ...(result.value.drift === undefined ? [] : [['drift', result.value.drift.drift] as const])];
    case 'train': return [['model', result.value.model]];
    case 'import': return [['model', result.value.model]];
    case 'evaluate': return [['evaluation', result.value.evaluation]];
    case 'audit': return [['audit', result.value.audit]];
    case 'replica': return [['state', result.value.state]];
    case 'merge': return [['merged weights', result.value.merged], ...(result.value.trained === undefined ? [] : [['model', result.value.trained.model] as const])];
    case 'fingerprint': return result.value.fingerprints === undefined ? result.value.near === undefined ? [] : [['near-duplicates', result.value.near]] : [['fingerprints', result.value.fingerprints]];
    // What is found of a tar lies where its name says; what is measured is all in the result.
    case 'index':
    case 'measure':
    case undefined: return [];
  }
}

/** Those that are there. */
export const outputsOf = (result: TaskResult['result']): ObjectRef[] => namedOutputs(result).flatMap(([, ref]) => ref ?? []);
