/** Lists of keys: their bytes, and what two of them share, counted by sets. */
import { describe, expect, it } from 'vitest';
import { encodeKeys, sharedKeys } from '../../../dataset/keys.ts';
import { paths, sha256, type ObjectRef, type ObjectStore } from '../../../store/index.ts';
import { temporaryStore } from './fixture.ts';

const keysOf = (numbers: readonly number[]): string[] => numbers.map((number) => sha256(`${number}`).slice(0, 20));
const from = (start: number, end: number): number[] => Array.from({ length: end - start }, (_, at) => start + at);

/** Reads in pieces that end within a key, as a network does. */
const inPieces = (store: ObjectStore, bytes: number): ObjectStore => new Proxy(store, {
  get: (target, name) => (name !== 'stream' ? Reflect.get(target, name).bind(target) : async function* (ref: ObjectRef) {
    const content = await target.get(ref);
    for (let at = 0; at < content.byteLength; at += bytes) yield content.subarray(at, at + bytes);
  }),
});

describe('a list of keys', () => {
  it('is sorted, ten bytes a key', () => {
    expect(Buffer.from(encodeKeys(['ff00000000000000000a', '00000000000000000001', 'a0b1c2d3e4f500112233'])).toString('hex')).toBe('00000000000000000001a0b1c2d3e4f500112233ff00000000000000000a');
  });

  it.each([
    ['none', from(0, 40), from(40, 100)], ['all of the shorter', from(0, 100), from(30, 60)], ['some', from(0, 50), from(45, 300)], ['the same', from(0, 7), from(0, 7)], ['nothing with nothing', [], []], ['nothing with some', [], from(0, 3)],
  ])('tells what it shares with another (%s), in either order and however it is read', async (_, one, other) => {
    const { store } = await temporaryStore();
    const [first, second] = await Promise.all([one, other].map((numbers) => store.putAddressed(paths.datasetPart('set', 'test'), encodeKeys(keysOf(numbers)), { extension: '.keys' }))) as [ObjectRef, ObjectRef];
    const expected = one.filter((number) => other.includes(number)).length;
    for (const each of [store, inPieces(store, 7), inPieces(store, 10), inPieces(store, 64)]) {
      expect(await sharedKeys(each, first, second)).toBe(expected);
      expect(await sharedKeys(each, second, first)).toBe(expected);
    }
  });

  it('tells keys apart that begin alike', async () => {
    const { store } = await temporaryStore();
    const alike = (ends: readonly string[]): Promise<ObjectRef> => store.putAddressed('p', encodeKeys(ends.map((end) => `aabbccddeeff0000000${end}`)));
    expect(await sharedKeys(store, await alike(['1', '3', '5', '9']), await alike(['0', '2', '3', '4', '6', '9', 'a']))).toBe(2);
  });

  it('that is no list is named', async () => {
    const { store } = await temporaryStore();
    const [bad, good] = [await store.putAddressed('p', Buffer.from('no keys')), await store.putAddressed('p', encodeKeys(keysOf([1])))];
    await expect(sharedKeys(store, good, bad)).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: bad.key });
  });
});
