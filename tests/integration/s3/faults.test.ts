/** What a network, a server's death and a full day do to the S3 engine: real MinIO behind a relay that disturbs what passes. */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ObjectRef, ObjectStore } from '../../../store/index.ts';
import { PART_BYTES, openS3Store, type S3StoreOptions } from '../../../store/s3/index.ts';
import { ATTEMPTS_MAX } from '../../../store/s3/retry.ts';
import { KEYS, minioForTests } from '../../harness/s3.ts';
import { Proxy, type Disturbance } from '../../harness/proxy.ts';
import { describeOnServers } from '../../harness/servers.ts';
import { collect } from '../../unit/store/conformance.ts';

const MEBIBYTE = 1024 * 1024;
/** Short, so that a connection that stands still costs a test little. */
const STALL_MS = 700;

/** Bytes that repeat nowhere, of one seed. */
function filled(bytes: number, seed = 1): Buffer {
  const content = Buffer.allocUnsafe(bytes);
  let state = seed;
  for (let at = 0; at + 4 <= bytes; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    content.writeUInt32LE(state, at);
  }
  return content;
}

const sha256 = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');

async function* pieces(content: Buffer, bytes = MEBIBYTE): AsyncIterable<Buffer> {
  for (let at = 0; at < content.byteLength; at += bytes) yield await Promise.resolve(content.subarray(at, at + bytes));
}

/** Does something to the first connections once so many bytes of a direction have passed, and lets all others be. */
const once = (direction: 'requests' | 'answers', connections: number, after: number, verdict: 'reset' | 'stall'): Disturbance => ({
  [direction]: (chunk: Buffer, { connection, before }: { connection: number; before: number }) => (connection < connections && before + chunk.byteLength > after ? verdict : chunk),
});

const slowDown = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`;
const busy = `HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: ${slowDown.length}\r\nConnection: close\r\n\r\n${slowDown}`;

describeOnServers(['minio'], 'S3 in trouble', () => {
  const minio = minioForTests();
  let proxy: Proxy;
  let prefix = '';
  let stores = 0;

  const open = (options: S3StoreOptions = {}): Promise<ObjectStore> => openS3Store(minio().url(prefix, { port: proxy.port }), KEYS, { ...minio().options, stallMs: STALL_MS, ...options });
  const expectOnly = async (store: ObjectStore, ref: ObjectRef): Promise<void> => {
    proxy.disturb();
    expect(await collect(store.list(''))).toMatchObject([{ key: ref.key, bytes: ref.bytes }]);
    expect(sha256(await store.get(ref))).toBe(ref.sha256);
    expect(await minio().uploadsUnderWay()).toBe(0);
  };

  beforeEach(async () => {
    stores += 1;
    prefix = `stores/${stores}`;
    proxy = await Proxy.start(() => `127.0.0.1:${minio().port}`);
  });
  afterEach(() => proxy.stop());

  it.each(['reset', 'stall'] as const)('goes on with a download where its connection met a %s', async (verdict) => {
    const store = await open();
    const content = filled(8 * MEBIBYTE);
    const ref = await store.putAddressed('p', content);
    proxy.disturb(once('answers', 3, MEBIBYTE, verdict));
    let bytes = 0;
    const hash = createHash('sha256');
    for await (const chunk of store.stream(ref)) {
      bytes += chunk.byteLength;
      hash.update(chunk);
    }
    expect(bytes).toBe(content.byteLength);
    expect(hash.digest('hex')).toBe(sha256(content));
    expect(proxy.seen).toBe(4);
    // A range is read again from its start.
    proxy.disturb(once('answers', 1, MEBIBYTE, verdict));
    expect(Buffer.from(await store.getRange(ref, 5, 4 * MEBIBYTE)).equals(content.subarray(5, 4 * MEBIBYTE))).toBe(true);
  });

  it('waits for a reader that rests longer than a connection may stand still', async () => {
    const store = await open();
    const ref = await store.putAddressed('p', filled(8 * MEBIBYTE));
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.stream(ref)) {
      chunks.push(chunk);
      if (chunks.length === 3) await new Promise((resolve) => setTimeout(resolve, 2 * STALL_MS));
    }
    expect(sha256(Buffer.concat(chunks))).toBe(ref.sha256);
  });

  it.each(['reset', 'stall'] as const)('takes an upload again that met a %s, and shows nothing before it is whole', async (verdict) => {
    const store = await open();
    const content = filled(6 * MEBIBYTE);
    proxy.disturb(once('requests', 2, 3 * MEBIBYTE, verdict));
    const put = store.putAddressed('p', pieces(content), { metadata: { run: 'r-1' } });
    const ref = await put;
    expect(ref.sha256).toBe(sha256(content));
    await expectOnly(store, ref);
    expect(await store.metadata(ref.key)).toEqual({ run: 'r-1' });
  });

  it.each(['reset', 'stall'] as const)('takes the parts of a large upload again that met a %s', async (verdict) => {
    const store = await open();
    const content = filled(2 * PART_BYTES + 9 * MEBIBYTE + 3);
    expect(content.byteLength).toBeGreaterThan(40 * MEBIBYTE);
    proxy.disturb(once('requests', 3, 5 * MEBIBYTE, verdict));
    const ref = await store.putAddressed('p', pieces(content), { extension: '.tar', metadata: { run: 'r-1' } });
    expect(ref).toEqual({ key: `p/${sha256(content)}.tar`, sha256: sha256(content), bytes: content.byteLength });
    await expectOnly(store, ref);
    expect(await store.metadata(ref.key)).toEqual({ run: 'r-1' });
    if (verdict === 'stall') return;
    // The same bytes are not sent twice: what the server holds is compared by its ETag.
    let sent = 0;
    proxy.disturb({ requests: (chunk) => {
      sent += chunk.byteLength;
      return chunk;
    } });
    expect(await store.putAddressed('p', pieces(content), { extension: '.tar', metadata: { run: 'r-2' } })).toEqual(ref);
    expect(sent).toBeLessThan(MEBIBYTE);
    expect(await store.metadata(ref.key)).toEqual({ run: 'r-1' });
    // And what was changed behind our back gives way to what the key names.
    await minio().put(`${prefix}/${ref.key}`, filled(content.byteLength, 2));
    expect(await store.putAddressed('p', pieces(content), { extension: '.tar' })).toEqual(ref);
    await expectOnly(store, ref);
  });

  it('knows its own put whose answer was lost', async () => {
    const store = await open();
    await store.putNamed('before', Buffer.from('so that the server was asked for what it knows'));
    // The answer of the request that carries the bytes, and only that one.
    let lost = 0;
    const loseOne = (mark: string): Disturbance => {
      let carries = -1;
      lost = 0;
      return {
        requests: (chunk, { connection }) => {
          if (chunk.includes(mark)) carries = connection;
          return chunk;
        },
        answers: (chunk, { connection }) => {
          if (connection !== carries || lost > 0) return chunk;
          lost += 1;
          return 'reset';
        },
      };
    };
    proxy.disturb(loseOne('the manifest'));
    const named = await store.putNamed('name', Buffer.from('the manifest'));
    expect(named.created).toBe(true);
    expect(lost).toBe(1);
    proxy.disturb(loseOne('the weights'));
    const ref = await store.putAddressed('p', Buffer.from('the weights'));
    expect(lost).toBe(1);
    proxy.disturb();
    expect(Buffer.from(await store.get(ref)).toString()).toBe('the weights');
    expect(await store.putNamed('name', Buffer.from('another'))).toEqual({ created: false, ref: named.ref });
  });

  it('tells bytes that were changed on the way', async () => {
    const store = await open();
    const content = filled(4 * MEBIBYTE);
    const flip = (direction: 'requests' | 'answers', connections: number): Disturbance => ({
      [direction]: (chunk: Buffer, { connection, before }: { connection: number; before: number }) => {
        if (connection >= connections || before < MEBIBYTE || before > 2 * MEBIBYTE) return chunk;
        const changed = Buffer.from(chunk);
        changed[0] = (changed[0] ?? 0) ^ 1;
        return changed;
      },
    });
    // On the way in the server notices, and the put is taken again.
    proxy.disturb(flip('requests', 2));
    const ref = await store.putAddressed('p', content);
    await expectOnly(store, ref);
    proxy.disturb(flip('answers', 100));
    await expect(store.get(ref)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: ref.key });
    proxy.disturb(flip('answers', 100));
    await expect(collect(store.stream(ref))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: ref.key });
  });

  it('rides out a burst of refusals, and gives up on an outage with an error that may be tried again', async () => {
    const pauses: number[] = [];
    const store = await open({ surroundings: { now: () => 0, random: () => 0.5, sleep: (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    } } });
    const kept = await store.putAddressed('p', Buffer.from('kept'));
    let left = 5;
    const refuse: Disturbance = { requests: (chunk) => {
      left -= 1;
      return left >= 0 ? { answer: busy } : chunk;
    } };
    proxy.disturb(refuse);
    const ref = await store.putAddressed('p', Buffer.from('some bytes'));
    expect(left).toBeLessThan(0);
    expect(pauses).toEqual([100, 200, 400, 800, 1600]);
    left = 5;
    expect(Buffer.from(await store.get(ref)).toString()).toBe('some bytes');
    left = 1_000;
    for (const call of [() => store.get(kept), () => store.putAddressed('p', Buffer.from('more')), () => store.putNamed('n', Buffer.from('more')), () => collect(store.list('')), () => store.delete('n'), () => store.metadata(kept.key)]) {
      const before = left;
      await expect(call()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retryable: true });
      expect(before - left).toBe(ATTEMPTS_MAX);
    }
  });

  it('ends a put well, or with an error that may be tried again, when the server is killed in its middle', async () => {
    const store = await open({ stallMs: 5_000 });
    const [small, large] = [filled(8 * MEBIBYTE, 3), filled(3 * PART_BYTES, 4)];
    for (const content of [small, large]) {
      let passed = 0;
      let restarted: Promise<void> | undefined;
      proxy.disturb({ requests: (chunk) => {
        passed += chunk.byteLength;
        if (passed > 5 * MEBIBYTE) restarted ??= minio().server.restart();
        return chunk;
      } });
      const put = await store.putAddressed('p', pieces(content)).catch((thrown: unknown) => thrown);
      expect(restarted).toBeDefined();
      await restarted;
      proxy.disturb();
      const ref = { key: `p/${sha256(content)}`, sha256: sha256(content), bytes: content.byteLength };
      const there = (await collect(store.list('p/'))).filter(({ key }) => key === ref.key);
      if (put instanceof Error) {
        expect(put).toMatchObject({ code: 'STORE_UNREACHABLE', retryable: true });
      } else {
        expect(put).toEqual(ref);
      }
      // Whole or not at all, and the put again makes it whole.
      expect(there.every(({ bytes }) => bytes === content.byteLength)).toBe(true);
      expect(await store.putAddressed('p', pieces(content))).toEqual(ref);
      expect(sha256(await store.get(ref))).toBe(ref.sha256);
    }
  });

  it('lists more than a page, each key once, though pages are lost on the way', async () => {
    const store = await open();
    const keys = Array.from({ length: 1_100 }, (_, at) => `many/${String(at).padStart(5, '0')} +%&é`);
    const left = [...keys];
    await Promise.all(Array.from({ length: 16 }, async () => {
      for (let key = left.pop(); key !== undefined; key = left.pop()) await minio().put(`${prefix}/${key}`, Buffer.from('x'));
    }));
    proxy.disturb(once('answers', 2, 20_000, 'reset'));
    expect((await collect(store.list('many/'))).map(({ key }) => key)).toEqual(keys);
    expect(proxy.seen).toBe(3);
  });

  it('lets one of many writers of a name win, each with a store of its own', async () => {
    const writers = await Promise.all(Array.from({ length: 8 }, () => open()));
    const results = await Promise.all(writers.map((store, at) => store.putNamed('datasets/a/manifest.json', Buffer.from(`writer ${at}`))));
    const winners = results.filter(({ created }) => created);
    expect(winners).toHaveLength(1);
    for (const { ref } of results) expect(ref).toEqual(winners[0]?.ref);
  });
});
