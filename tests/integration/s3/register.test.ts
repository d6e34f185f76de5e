/** Tars in somebody's bucket, registered by the command line into a store in another bucket of a real server. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { loadManifest, verifyDataset } from '../../../dataset/index.ts';
import { openStore, paths } from '../../../store/index.ts';
import { decodedShard } from '../../../worker/data/index.ts';
import { KEYS, S3Server } from '../../harness/s3.ts';
import { describeOnServers } from '../../harness/servers.ts';
import { run } from '../../unit/cli/console.ts';
import { collect, GRAY, picture, png, tarOf } from '../../unit/dataset/fixture.ts';

const CRAWL = 'crawl';

describeOnServers(['minio'], 'registering tars of another bucket', () => {
  const folder = mkdtempSync(join(tmpdir(), 'alumnus-s3-'));
  const home = join(folder, 'home');
  let s3: S3Server;
  let store: string;
  const put = async (key: string, content: Uint8Array): Promise<void> => void (await s3.client().putObject(CRAWL, key, Buffer.from(content)));
  const alumnus = (...args: string[]) => run([...args, '--home', home, '--store', store]);
  const crawled = async (): Promise<string[]> => (await collect(s3.client().listObjectsV2(CRAWL, '', true) as AsyncIterable<{ name: string; etag: string }>)).map(({ name, etag }) => `${name} ${etag}`);

  beforeAll(async () => {
    s3 = await S3Server.start('minio', folder);
    store = s3.url('store', { host: '127.0.0.1' });
    await s3.client().makeBucket(CRAWL, 'us-east-1');
  });
  beforeEach(() => {
    for (const [name, value] of Object.entries(KEYS)) vi.stubEnv(name, value);
  });
  afterEach(() => vi.unstubAllEnvs());
  afterAll(async () => {
    await s3?.server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('copies nothing, and workers read the images there', async () => {
    const bytes = await tarOf({ 'a.png': png(1), 'a.json': '{}', 'b.png': png(2) });
    await put('tars/000.tar', bytes);
    await put('other/999.tar', await tarOf({ 'x.png': png(9) }));
    const before = await crawled();
    const { code, err } = await alumnus('dataset', 'register', 'web', `s3://${CRAWL}/tars`);
    expect([code, err]).toEqual([0, expect.stringContaining('web: 1 shard added')]);
    expect(await crawled()).toEqual(before);
    const own = await openStore(store);
    expect((await collect(own.list(''))).map(({ key }) => key)).toEqual([paths.datasetManifest('web'), expect.stringMatching(/^indexed\/[0-9a-f]{64}\.json$/)]);
    // The server of the store's own bucket, since the place named none.
    const location = s3.url('tars', { host: '127.0.0.1', bucket: CRAWL });
    const { manifest } = await loadManifest(own, 'web');
    const [shard] = manifest.parts.unlabeled?.shards ?? [];
    expect(shard).toEqual({ name: 'unlabeled-000000', ref: { key: '000.tar', sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.byteLength }, samples: 2, location });
    if (shard === undefined) throw new Error('one shard was registered');
    const { images } = await decodedShard({ store: own, shape: GRAY, cacheFolder: '', signal: new AbortController().signal }, shard);
    expect(Buffer.from(images)).toEqual(Buffer.concat([picture(1), picture(2)]));
  });

  it('what came since makes a new version; what changed is refused', async () => {
    await put('tars/001.tar', await tarOf({ 'c.png': png(3) }));
    const { code, out } = await alumnus('dataset', 'append', 'web', `s3://${CRAWL}/tars`, '-o', 'json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ kind: 'Dataset', version: 2, added: 1 });
    expect((await alumnus('dataset', 'verify', 'web')).code).toBe(0);
    await put('tars/001.tar', await tarOf({ 'c.png': png(4) }));
    expect((await verifyDataset(await openStore(store), 'web')).map(({ code: problem, file }) => [problem, file])).toEqual([['DIGEST_MISMATCH', `s3://${CRAWL}/tars/001.tar`]]);
    expect((await alumnus('dataset', 'verify', 'web@1')).code).toBe(0);
  });

  it('a bucket that is not there, and a name that is taken, are said before anything is read', async () => {
    expect(await alumnus('dataset', 'register', 'more', 's3://nobodys/tars')).toMatchObject({ code: 3, err: expect.stringContaining('[BUCKET_NOT_FOUND]') });
    expect(await alumnus('dataset', 'register', 'web', `s3://${CRAWL}/tars`)).toMatchObject({ code: 4, err: expect.stringContaining('[DATASET_EXISTS]') });
    expect(await alumnus('dataset', 'register', 'more', `s3://${CRAWL}/tars`, '--classes', 'a,b')).toMatchObject({ code: 2, err: expect.stringContaining('--classes') });
  });
});
