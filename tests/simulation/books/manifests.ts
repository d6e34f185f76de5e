/** Books of manifests: I9 of checker.ts, from the facts and the store. */
import { isDeepStrictEqual } from 'node:util';
import { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import { RunManifest } from '../../../proto/gen/alumnus/v1/record.ts';
import type { MemoryStore } from '../store.ts';
import { must } from '../violation.ts';

export class Manifests {
  readonly #store: MemoryStore;
  /** A run's facts since its last manifest, and how many it and those before it hold. */
  readonly #pending = new Map<string, Event[]>();
  readonly #last = new Map<string, { sha256: string; number: number; facts: number }>();

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  /** They begin again with an earlier end of the journal. */
  clear(): void {
    this.#pending.clear();
    this.#last.clear();
  }

  written(event: Event): void {
    const { runId, fact } = event;
    if (fact?.$case !== 'manifestWritten') {
      this.#pending.set(runId, [...(this.#pending.get(runId) ?? []), event]);
      return;
    }
    const { manifest: ref, number, facts } = fact.value;
    const held = this.#store.objects.get(ref?.key ?? '');
    must(held !== undefined, `manifest ${number} of ${runId} is journalled and not in the store`);
    const manifest = RunManifest.decode(held?.content ?? new Uint8Array());
    const before = this.#last.get(runId);
    const pending = this.#pending.get(runId) ?? [];
    must(number === (before?.number ?? -1) + 1 && manifest.number === number && manifest.previous?.sha256 === before?.sha256, `manifest ${number} of ${runId} does not follow ${before?.number ?? 'nothing'}`);
    must(facts === (before?.facts ?? 0) + pending.length && isDeepStrictEqual(manifest.events.map((each) => Event.toJSON(each)), pending.map((each) => Event.toJSON(each))), `manifest ${number} of ${runId} does not hold the facts that are journalled`);
    this.#last.set(runId, { sha256: ref?.sha256 ?? '', number, facts });
    this.#pending.delete(runId);
  }
}
