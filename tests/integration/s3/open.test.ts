/** What a person is told when a bucket cannot be used, and the CLI on a bucket, its certificate named as a user names it. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AssumeRoleProvider } from 'minio/dist/esm/AssumeRoleProvider.mjs';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { openStore } from '../../../store/index.ts';
import { PART_BYTES, openS3Store } from '../../../store/s3/index.ts';
import { patternsHome } from '../../harness/patterns.ts';
import { ACCESS_KEY, BUCKET, KEYS, S3Server, SECRET_KEY } from '../../harness/s3.ts';
import { describeOnServers, freePort } from '../../harness/servers.ts';
import { collect } from '../../unit/store/conformance.ts';

const HOUR_MS = 3_600_000;
const root = join(import.meta.dirname, '../../..');

describeOnServers(['minio'], 'opening a store on S3', () => {
  const folder = mkdtempSync(join(tmpdir(), 'alumnus-s3-'));
  let s3: S3Server;
  beforeAll(async () => {
    s3 = await S3Server.start('minio', folder, { tls: true });
  });
  afterAll(async () => {
    await s3?.server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllEnvs();
  });

  it('says that the bucket does not exist', async () => {
    const url = s3.url('', { bucket: 'nobodys' });
    await expect(openS3Store(url, KEYS, s3.options)).rejects.toMatchObject({ code: 'BUCKET_NOT_FOUND', where: url, retryable: false });
  });

  it('says that the keys are wrong, or not there', async () => {
    for (const env of [{ ...KEYS, ALUMNUS_S3_SECRET_KEY: 'wrong-secret' }, { ...KEYS, ALUMNUS_S3_ACCESS_KEY: 'nobody' }, {}, { ALUMNUS_S3_ACCESS_KEY: ACCESS_KEY }]) {
      await expect(openS3Store(s3.url(''), env, s3.options)).rejects.toMatchObject({ code: 'STORE_DENIED', where: s3.url(''), retryable: false });
    }
  });

  it('says that nobody answers', async () => {
    const url = s3.url('', { port: await freePort() });
    await expect(openS3Store(url, KEYS, s3.options)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', where: url, retryable: true });
  });

  it('says that the clocks differ', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + HOUR_MS });
    await expect(openS3Store(s3.url(''), KEYS, s3.options)).rejects.toMatchObject({ code: 'STORE_CLOCK_SKEWED', retryable: false });
  });

  it('says that the certificate is not trusted', async () => {
    const { ca: _, ...untrusting } = s3.options;
    await expect(openS3Store(s3.url(''), KEYS, untrusting)).rejects.toMatchObject({ code: 'STORE_UNTRUSTED', retryable: false });
    for (const [name, value] of Object.entries(KEYS)) vi.stubEnv(name, value);
    await expect(openStore(s3.url('', { host: '127.0.0.1' }))).rejects.toMatchObject({ code: 'STORE_UNTRUSTED' });
  });

  it('needs no more than the policy of docs/storage.md, by temporary keys as by others', async () => {
    const [, policy = ''] = /```json\n(\{\s+"Version".*?)```/s.exec(readFileSync(join(root, 'docs/storage.md'), 'utf8')) ?? [];
    const sts = new AssumeRoleProvider({
      stsEndpoint: `https://127.0.0.1:${s3.port}`, accessKey: ACCESS_KEY, secretKey: SECRET_KEY, region: 'us-east-1', transportAgent: new Agent({ ca: s3.ca }),
      policy: JSON.stringify(JSON.parse(policy.replaceAll('BUCKET', BUCKET).replaceAll('PREFIX', 'allowed'))),
    });
    const keys = await sts.getCredentials();
    const env = { ALUMNUS_S3_ACCESS_KEY: keys.getAccessKey(), ALUMNUS_S3_SECRET_KEY: keys.getSecretKey(), ALUMNUS_S3_SESSION_TOKEN: keys.getSessionToken() };
    const store = await openS3Store(s3.url('allowed'), env, s3.options);
    for (const bytes of [10, PART_BYTES + 1]) {
      const ref = await store.putAddressed('p', Buffer.alloc(bytes));
      expect(await store.get(ref)).toHaveLength(bytes);
      await store.delete(ref.key);
    }
    expect(await store.putNamed('name', Buffer.from('x'))).toMatchObject({ created: true });
    expect(await collect(store.list(''))).toMatchObject([{ key: 'name', bytes: 1 }]);
    const elsewhere = await openS3Store(s3.url('forbidden'), env, s3.options);
    for (const call of [() => elsewhere.putAddressed('p', Buffer.from('x')), () => elsewhere.putNamed('name', Buffer.from('x')), () => elsewhere.getNamed('name')]) {
      await expect(call()).rejects.toMatchObject({ code: 'STORE_DENIED' });
    }
  });

  it('is what the CLI does with --store, or ALUMNUS_STORE, for every command on datasets', async () => {
    const { home, remove } = await patternsHome();
    try {
      const env = { ...process.env, ...KEYS, ALUMNUS_STORE: s3.url('cli', { host: '127.0.0.1' }), NODE_EXTRA_CA_CERTS: s3.caFile };
      const alumnus = async (...args: string[]): Promise<string> => (await promisify(execFile)(process.execPath, [join(root, 'dist/cli/main.js'), ...args], { env })).stdout;
      const images = ['train-images', '--labels', 'train-labels', '--test', 'test-images', '--test-labels', 'test-labels'].map((arg) => (arg.startsWith('--') ? arg : join(home, arg)));
      await alumnus('dataset', 'import', 'idx', ...images, '--name', 'patterns', '--labeled-per-class', '10', '--validation', '100');
      expect(await alumnus('dataset', 'list', '-o', 'name')).toContain('patterns');
      expect(await alumnus('dataset', 'verify', 'patterns')).toContain('every byte is as it was imported');
      const keys = [];
      for await (const { key } of (await openS3Store(s3.url('cli'), KEYS, s3.options)).list('datasets/')) keys.push(key);
      expect(keys).toContain('datasets/patterns/manifest.json');
    } finally {
      await remove();
    }
  });
});
