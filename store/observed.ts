/**
 * A store whose every operation is told: which, how long, and the error that it ended with. Not for: what becomes of that (a program's metrics).
 * What comes in pieces is told once its first piece is there, or its end: how fast the rest is taken is the reader's matter. An error after that is told, too.
 */
import type { ObjectStore } from './object-store.ts';

export type StoreOperation = Exclude<keyof ObjectStore, symbol>;

/** @param seconds since the operation began; undefined where it was told before, and failed after its first piece @param thrown what it ended with; undefined where it did well */
export type OnOperation = (operation: StoreOperation, seconds: number | undefined, thrown: unknown) => void;

/** @param nowMs of a clock that does not go back */
export function observedStore(store: ObjectStore, told: OnOperation, nowMs: () => number = () => performance.now()): ObjectStore {
  async function one<Value>(operation: StoreOperation, act: () => Promise<Value>): Promise<Value> {
    const beganMs = nowMs();
    try {
      const value = await act();
      told(operation, (nowMs() - beganMs) / 1000, undefined);
      return value;
    } catch (thrown) {
      told(operation, (nowMs() - beganMs) / 1000, thrown);
      throw thrown;
    }
  }
  async function* many<Item>(operation: StoreOperation, act: () => AsyncIterable<Item>): AsyncIterable<Item> {
    const beganMs = nowMs();
    let isFirst = true;
    try {
      for await (const item of act()) {
        if (isFirst) told(operation, (nowMs() - beganMs) / 1000, undefined);
        isFirst = false;
        yield item;
      }
      if (isFirst) told(operation, (nowMs() - beganMs) / 1000, undefined);
    } catch (thrown) {
      told(operation, isFirst ? (nowMs() - beganMs) / 1000 : undefined, thrown);
      throw thrown;
    }
  }
  return {
    putAddressed: (prefix, content, options) => one('putAddressed', () => store.putAddressed(prefix, content, options)),
    putNamed: (key, content) => one('putNamed', () => store.putNamed(key, content)),
    get: (ref) => one('get', () => store.get(ref)),
    stream: (ref) => many('stream', () => store.stream(ref)),
    getRange: (ref, start, end) => one('getRange', () => store.getRange(ref, start, end)),
    getNamed: (key) => one('getNamed', () => store.getNamed(key)),
    metadata: (key) => one('metadata', () => store.metadata(key)),
    list: (prefix) => many('list', () => store.list(prefix)),
    delete: (key) => one('delete', () => store.delete(key)),
  };
}
