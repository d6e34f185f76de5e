/** A teacher from elsewhere that lies in a bucket of a real server: which files are found there, and what is said where they can't be. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { sha256 } from '../../../store/index.ts';
import { filesOf, type ModelFile } from '../../../worker/foreign/index.ts';
import { KEYS, minioForTests } from '../../harness/s3.ts';
import { describeOnServers, freePort } from '../../harness/servers.ts';

const MODELS = 'models';
const fixtures = join(import.meta.dirname, '../../fixtures/foreign');

describeOnServers(['minio'], 'a teacher in a bucket', () => {
  const minio = minioForTests();
  const at = (path: string, bucket = MODELS, port?: number): string => minio().url(path, { host: '127.0.0.1', bucket, ...(port === undefined ? {} : { port }) });
  const found = (url: string) => filesOf({ url }, new AbortController().signal);
  const digests = async (files: readonly ModelFile[]): Promise<Record<string, string>> => Object.fromEntries(await Promise.all(files.map(async ({ path, read }) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of read()) chunks.push(chunk);
    return [path, sha256(Buffer.concat(chunks))];
  })));

  beforeAll(async () => {
    const s3 = minio();
    await s3.client().makeBucket(MODELS, 'us-east-1');
    for (const path of readdirSync(fixtures, { recursive: true }).map(String)) {
      if (statSync(join(fixtures, path)).isFile()) await s3.client().putObject(MODELS, `2026/${path}`, readFileSync(join(fixtures, path)));
    }
  });
  beforeEach(() => {
    for (const [name, value] of Object.entries(KEYS)) vi.stubEnv(name, value);
  });
  afterEach(() => vi.unstubAllEnvs());

  it('is found by its folder or its file, with the files that belong to it and no others', async () => {
    const own = (model: string, ...paths: string[]): Record<string, string> => Object.fromEntries(paths.map((path) => [path, sha256(readFileSync(join(fixtures, model, path)))]));
    const savedModel = await found(at('2026/patterns-savedmodel'));
    expect([savedModel.format, await digests(savedModel.files)]).toEqual(['savedmodel', own('patterns-savedmodel', 'saved_model.pb', 'variables/variables.data-00000-of-00001', 'variables/variables.index')]);
    for (const path of ['2026/patterns-layers', '2026/patterns-layers/model.json']) {
      const { format, files } = await found(at(path));
      expect([format, await digests(files)]).toEqual(['tfjs', own('patterns-layers', 'model.json', 'weights.bin')]);
    }
    for (const path of ['2026/colors', '2026/colors/model.onnx']) {
      const { format, files } = await found(at(path));
      expect([format, await digests(files)]).toEqual(['onnx', own('colors', 'model.onnx', 'model.onnx.data')]);
    }
    const byFile = await found(at('2026/patterns.onnx'));
    expect([byFile.format, await digests(byFile.files)]).toEqual(['onnx', own('', 'patterns.onnx')]);
  });

  it('that is not there is told from keys that are wrong and a server that is away', async () => {
    await expect(found(at('2026/nothing'))).rejects.toMatchObject({ code: 'TEACHER_NOT_FOUND', message: expect.stringMatching(/2026\/nothing holds none of saved_model\.pb, model\.json and a file that ends in \.onnx$/) as string });
    await expect(found(at('2026/nothing.onnx'))).rejects.toMatchObject({ code: 'TEACHER_NOT_FOUND', message: expect.stringContaining('there is no file nothing.onnx') as string });
    await expect(found(at('birds', 'nobodys'))).rejects.toMatchObject({ code: 'TEACHER_NOT_FOUND', message: expect.stringContaining('nobodys') as string });
    await expect(found(at('birds', MODELS, await freePort()))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    vi.stubEnv('ALUMNUS_S3_SECRET_KEY', 'wrong-secret');
    await expect(found(at('2026/patterns-layers'))).rejects.toMatchObject({ code: 'STORE_DENIED' });
  });
});
