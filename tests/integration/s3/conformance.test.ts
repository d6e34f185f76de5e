/** The S3 engine against the servers that people run: the conformance suite of all stores, on each server and in each way to reach it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { openS3Store } from '../../../store/s3/index.ts';
import { KEYS, S3Server } from '../../harness/s3.ts';
import { describeOnServers } from '../../harness/servers.ts';
import { describeObjectStore } from '../../unit/store/conformance.ts';

const ways = [
  { program: 'minio', tls: false, addressing: 'path' },
  { program: 'minio', tls: true, addressing: 'virtual-host' },
  { program: 'versitygw', tls: false, addressing: 'virtual-host' },
  { program: 'versitygw', tls: true, addressing: 'path' },
] as const;

for (const { program, tls, addressing } of ways) {
  const title = `${program}, ${tls ? 'TLS' : 'no TLS'}, ${addressing}`;
  describeOnServers([program], `S3 on ${title}`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'alumnus-s3-'));
    let s3: S3Server;
    let stores = 0;
    beforeAll(async () => {
      s3 = await S3Server.start(program, folder, { tls });
    });
    afterAll(async () => {
      await s3?.server.stop();
      rmSync(folder, { recursive: true, force: true });
    });

    describeObjectStore(title, async () => {
      // An empty store is a prefix that nobody used.
      stores += 1;
      const prefix = `stores/${stores}`;
      return { store: await openS3Store(s3.url(prefix, { addressing }), KEYS, s3.options), tamper: (key, changed) => s3.put(`${prefix}/${key}`, changed) };
    });
  });
}
