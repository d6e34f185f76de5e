/**
 * Real S3 servers for tests: MinIO and Versity's gateway, with keys, a bucket and, where wished, TLS by a certificate of the
 * test's own. What a bucket is asked for behind the store's back goes through `client`.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent as PlainAgent } from 'node:http';
import { Agent } from 'node:https';
import type { LookupFunction } from 'node:net';
import { Client } from 'minio';
import { afterAll, beforeAll } from 'vitest';
import { makeCertificate } from './certificate.ts';
import type { Host } from './hosts.ts';
import { Server, answersOk, freePort } from './servers.ts';

export const ACCESS_KEY = 'test-access-key';
export const SECRET_KEY = 'test-secret-key';
export const KEYS = { ALUMNUS_S3_ACCESS_KEY: ACCESS_KEY, ALUMNUS_S3_SECRET_KEY: SECRET_KEY };
export const BUCKET = 'alumnus';
const REGION = 'us-east-1';

/** Every name is this machine: virtual hosts need no entry in anybody's DNS. */
export const loopback: LookupFunction = (_, options, callback) => {
  if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
  else callback(null, '127.0.0.1', 4);
};

export interface S3Options {
  /** Default false. */
  readonly tls?: boolean;
  /** Where it runs; default loopback. */
  readonly host?: Host | undefined;
}

/** Of two parts: no client trusts a wildcard right below a top-level domain. Known to `loopback` alone. */
const DOMAIN = 's3.localhost';

export class S3Server {
  readonly server: Server;
  readonly port: number;
  /** The certificate to trust, PEM; undefined without TLS. */
  readonly ca: string | undefined;
  readonly caFile: string | undefined;
  readonly #host: Host | undefined;

  private constructor(server: Server, port: number, caFile: string | undefined, host: Host | undefined) {
    this.server = server;
    this.#host = host;
    this.port = port;
    this.caFile = caFile;
    this.ca = caFile === undefined ? undefined : readFileSync(caFile, 'utf8');
  }

  /** @param folder holds objects, certificates and the log. The bucket is there when it resolves. */
  static async start(program: 'minio' | 'versitygw', folder: string, { tls = false, host }: S3Options = {}): Promise<S3Server> {
    const address = host?.address ?? '127.0.0.1';
    const port = await freePort();
    const [data, certificates] = [join(folder, 'data'), join(folder, 'certificates')];
    await mkdir(data, { recursive: true });
    await mkdir(certificates, { recursive: true });
    if (tls) makeCertificate({ key: join(certificates, 'private.key'), certificate: join(certificates, 'public.crt') }, [`DNS:${DOMAIN}`, `DNS:*.${DOMAIN}`, 'IP:127.0.0.1']);
    const caFile = tls ? join(certificates, 'public.crt') : undefined;
    const own: Pick<Parameters<typeof Server.start>[0], 'args' | 'env'> = program === 'minio'
      ? {
          args: ['server', '--address', `${address}:${port}`, '--certs-dir', certificates, data],
          // Neither a look for updates, nor calls home, nor a console.
          env: { MINIO_ROOT_USER: ACCESS_KEY, MINIO_ROOT_PASSWORD: SECRET_KEY, MINIO_DOMAIN: DOMAIN, MINIO_BROWSER: 'off', MINIO_UPDATE: 'off', MINIO_CALLHOME_ENABLE: 'off', MINIO_REGION: REGION },
        }
      : {
          args: ['--port', `${address}:${port}`, '--access', ACCESS_KEY, '--secret', SECRET_KEY, '--region', REGION, '--virtual-domain', DOMAIN, '--keep-alive', '--quiet', '--health', '/health',
            ...(tls ? ['--cert', join(certificates, 'public.crt'), '--key', join(certificates, 'private.key')] : []), 'posix', data],
        };
    const client = clientOf(port, caFile, host?.address);
    const server = await Server.start({
      name: program, program, ...own, logFile: join(folder, 'log'), host,
      isReady: async () => {
        if (!tls && !await answersOk(`http://${address}:${port}${program === 'minio' ? '/minio/health/ready' : '/health'}`)) return false;
        await client.bucketExists(BUCKET);
        return true;
      },
    });
    await client.makeBucket(BUCKET, REGION);
    return new S3Server(server, port, caFile, host);
  }

  /** Of a store below a prefix of the bucket. `port`: of a proxy before the server. `host`: for a process that asks the real DNS, 127.0.0.1. */
  url(prefix: string, options: { bucket?: string; host?: string; port?: number; addressing?: 'path' | 'virtual-host' } = {}): string {
    const query = new URLSearchParams({ endpoint: `${this.ca === undefined ? 'http' : 'https'}://${options.host ?? this.#host?.address ?? DOMAIN}:${options.port ?? this.port}`, addressing: options.addressing ?? 'path' });
    return `s3://${options.bucket ?? BUCKET}/${prefix}?${query.toString()}`;
  }

  /** What a store in the test's own process needs to reach it. */
  get options(): { lookup: LookupFunction; ca?: string } {
    return { lookup: loopback, ...(this.ca === undefined ? {} : { ca: this.ca }) };
  }

  client(): Client {
    return clientOf(this.port, this.caFile, this.#host?.address);
  }

  async put(key: string, content: Uint8Array): Promise<void> {
    await this.client().putObject(BUCKET, key, Buffer.from(content));
  }

  async uploadsUnderWay(): Promise<number> {
    let count = 0;
    for await (const _ of this.client().listIncompleteUploads(BUCKET, '', true)) count += 1;
    return count;
  }
}

function clientOf(port: number, caFile: string | undefined, address?: string): Client {
  return new Client({
    endPoint: address ?? DOMAIN, port, useSSL: caFile !== undefined, accessKey: ACCESS_KEY, secretKey: SECRET_KEY, region: REGION, pathStyle: true, retryOptions: { disableRetry: true },
    transportAgent: caFile === undefined ? new PlainAgent({ lookup: loopback }) : new Agent({ lookup: loopback, ca: readFileSync(caFile) }),
  });
}

/** A MinIO for the tests of one `describe`: there before the first, and gone with its folder after the last. To be asked for within a test or hook. */
export function minioForTests(): () => S3Server {
  const folder = mkdtempSync(join(tmpdir(), 'alumnus-s3-'));
  let s3: S3Server | undefined;
  beforeAll(async () => {
    s3 = await S3Server.start('minio', folder);
  });
  afterAll(async () => {
    await s3?.server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return () => {
    if (s3 === undefined) throw new Error('the server is started before the first test');
    return s3;
  };
}
