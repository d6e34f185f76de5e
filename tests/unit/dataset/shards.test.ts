/** Our tar against tar-stream in both directions, and the damage that a reader must name. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { extract, pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { readShard } from '../../../dataset/index.ts';
import { bufferSource, ENTRY_BYTES_MAX, readTar, writeTar } from '../../../dataset/tar.ts';
import { sha256 } from '../../../store/index.ts';
import { collect, png, tarOf, temporaryStore } from './fixture.ts';

const entries = Array.from({ length: 5 }, (_, at) => ({ name: `key${at}.png`, bytes: Uint8Array.from({ length: [0, 1, 511, 512, 1300][at] ?? 0 }, (_, byte) => byte % 251) }));
const read = async (archive: Uint8Array) => collect(readTar(bufferSource(archive), 'shard.tar'));

describe('a tar', () => {
  it('is read by another program as it was written', async () => {
    const reader = extract();
    reader.end(Buffer.from(writeTar(entries)));
    const found: { name: string; bytes: Uint8Array; mtime: number; uid: number; mode: number }[] = [];
    for await (const entry of reader) {
      const pieces: Buffer[] = [];
      for await (const piece of entry) pieces.push(piece as Buffer);
      const { name, mtime, uid, mode } = entry.header;
      found.push({ name, bytes: new Uint8Array(Buffer.concat(pieces)), mtime: mtime?.getTime() ?? -1, uid: uid ?? -1, mode: mode ?? -1 });
    }
    expect(found).toEqual(entries.map((entry) => ({ ...entry, mtime: 0, uid: 0, mode: 0o644 })));
  });

  it('is read as another program wrote it, long names included', async () => {
    const long = `${'folder/'.repeat(30)}${'n'.repeat(120)}.png`;
    const archive = await tarOf({ 'a/b.png': 'x', [long]: 'long', 'ä.png': 'umlaut', last: '' });
    expect((await read(archive)).map(({ name, bytes }) => [name, Buffer.from(bytes).toString()])).toEqual([['a/b.png', 'x'], [long, 'long'], ['ä.png', 'umlaut'], ['last', '']]);
  });

  it('has the same bytes for the same entries', () => {
    expect(sha256(writeTar(entries))).toBe(sha256(writeTar(structuredClone(entries))));
  });

  it('is refused when it is cut off anywhere, with the byte', async () => {
    const archive = writeTar(entries);
    const end = archive.length - 1024;
    for (let length = 0; length < end + 512; length += 37) {
      await expect(read(archive.subarray(0, length)), String(length)).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: 'shard.tar', message: expect.stringMatching(`at byte ${length}$`) as string });
    }
    // Between two entries, where nothing but the missing end mark tells.
    await expect(read(archive.subarray(0, end))).rejects.toThrow(`ends without its end mark at byte ${end}`);
    await expect(read(new Uint8Array(0))).rejects.toThrow('ends without its end mark at byte 0');
  });

  it('is refused when a byte of a header changed, with the header\'s offset', async () => {
    const archive = writeTar(entries);
    for (const [offset, within] of [[512, 0], [512, 130], [1536, 5]] as const) {
      const damaged = Uint8Array.from(archive);
      damaged[offset + within] = (damaged[offset + within] ?? 0) ^ 1;
      await expect(read(damaged)).rejects.toThrow(`has a damaged entry header at byte ${offset}`);
    }
    await expect(read(Buffer.from('PK'.repeat(600)))).rejects.toThrow('has a damaged entry header at byte 0');
  });

  it('is refused when an entry is no file or says that it is enormous', async () => {
    const archive = pack();
    archive.entry({ name: 'link.png', type: 'symlink', linkname: '/etc/passwd' });
    archive.entry({ name: 'folder', type: 'directory' });
    archive.finalize();
    await expect(read(Buffer.concat(await collect(archive as AsyncIterable<Buffer>)))).rejects.toThrow('holds "link.png", which is not a file, at byte 0');
    const large = pack();
    large.entry({ name: 'large.png', size: ENTRY_BYTES_MAX + 1 });
    const header = await new Promise<Buffer>((resolve) => large.once('data', (piece) => resolve(piece as Buffer)));
    await expect(read(header)).rejects.toThrow(`says that entry "large.png" has ${ENTRY_BYTES_MAX + 1} bytes`);
    large.destroy();
  });
});

describe('a shard', () => {
  it('gives its samples by key', async () => {
    const { store } = await temporaryStore();
    const ref = await store.putAddressed('p', await tarOf({ 'k1.png': png(1), 'k2.jpeg': 'not looked at here' }));
    expect((await collect(readShard(store, ref))).map(({ key, extension }) => ({ key, extension }))).toEqual([{ key: 'k1', extension: 'png' }, { key: 'k2', extension: 'jpg' }]);
  });

  it.each(['../../climb.png', '/etc/x.png', 'a/b.png', '.png', 'k.txt', 'k', 'k.cls', 'k\\x.png', 'k .png'])('is refused with an entry named %j', async (name) => {
    const { store } = await temporaryStore();
    const ref = await store.putAddressed('p', await tarOf({ 'k1.png': png(1), [name]: png(2) }), { extension: '.tar' });
    await expect(collect(readShard(store, ref))).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: ref.key });
  });

  it('says whether the store changed it or it never was a shard', async () => {
    const { store, root } = await temporaryStore();
    const whole = await tarOf({ 'k1.png': png(1) });
    const never = await store.putAddressed('p', whole.subarray(0, 700));
    await expect(collect(readShard(store, never))).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: never.key });
    const changed = await store.putAddressed('p', whole);
    await writeFile(join(root, changed.key), whole.subarray(0, 700));
    await expect(collect(readShard(store, changed))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: changed.key });
  });
});
