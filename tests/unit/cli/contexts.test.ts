/** Contexts, TLS and tokens, against a gRPC server that has a certificate and asks each call for its token. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials, type ServerUnaryCall } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { AlumnusError } from '../../../proto/errors.ts';
import { GetStatusResponse, ListRunsResponse, OperatorServiceService, RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { statusOf } from '../../../proto/status.ts';
import { makeCertificate } from '../../harness/certificate.ts';
import { run, type Ran } from './console.ts';

const TOKEN = 'tok-4f2a91.secret';
const folder = mkdtempSync(join(tmpdir(), 'alumnus-contexts-'));
const file = (name: string): string => join(folder, name);
const server = { key: file('server.key'), certificate: file('server.crt') };
const client = { key: file('client.key'), certificate: file('client.crt') };
const servers: Server[] = [];
const addresses = { plain: '', tls: '', mutual: '' };
let seen: string[] = [];

const bearerOf = (call: Pick<ServerUnaryCall<unknown, unknown>, 'metadata'>): string => String(call.metadata.get('authorization')[0] ?? '');

async function serve(credentials: ServerCredentials): Promise<string> {
  const started = new Server();
  servers.push(started);
  const answer = (response: object) => (call: ServerUnaryCall<unknown, unknown>, callback: (error: object | null, value?: object) => void): void => {
    seen.push(bearerOf(call));
    if (bearerOf(call) === '') callback(statusOf(new AlumnusError('ACCESS_UNAUTHENTICATED', 'the call carries no token')));
    else if (bearerOf(call) !== `Bearer ${TOKEN}`) callback(statusOf(new AlumnusError('ACCESS_REFUSED', 'the token may not do this')));
    else callback(null, response);
  };
  const absent = (_: unknown, callback: (error: object) => void): void => callback(statusOf(new AlumnusError('INTERNAL', 'not asked for')));
  started.addService(OperatorServiceService, {
    ...Object.fromEntries(Object.keys(OperatorServiceService).map((name) => [name, absent])),
    getStatus: answer(GetStatusResponse.fromPartial({ version: '0.1.0', role: 'leader' })),
    listRuns: answer(ListRunsResponse.fromPartial({ runs: [{ runId: 'r1', state: 'running' }] })),
    watchRun: (call: ServerUnaryCall<unknown, unknown> & { write(view: RunView): void; end(): void }) => {
      seen.push(bearerOf(call));
      call.write(RunView.fromPartial({ summary: { runId: 'r1', state: 'succeeded' } }));
      call.end();
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    started.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  return `127.0.0.1:${port}`;
}

beforeAll(async () => {
  makeCertificate(server, ['DNS:coordinator.test', 'IP:127.0.0.1']);
  makeCertificate(client, ['DNS:operator.test']);
  const pair = { private_key: readFileSync(server.key), cert_chain: readFileSync(server.certificate) };
  addresses.plain = await serve(ServerCredentials.createInsecure());
  addresses.tls = await serve(ServerCredentials.createSsl(null, [pair]));
  addresses.mutual = await serve(ServerCredentials.createSsl(readFileSync(client.certificate), [pair], true));
  writeFileSync(file('token'), `${TOKEN}\n`);
});
afterAll(() => {
  for (const each of servers) each.forceShutdown();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  seen = [];
  rmSync(join(folder, 'alumnus'), { recursive: true, force: true });
});

const configFile = join(folder, 'alumnus/config.yaml');
const alumnus = (args: readonly string[], env: Record<string, string> = {}): Promise<Ran> => run(args, { XDG_CONFIG_HOME: folder, ...env });
const secured = (name: string, ...more: string[]): Promise<Ran> => alumnus(['config', 'set-context', name, '--address', addresses.tls, '--tls-ca', server.certificate, ...more]);
const list = (flags: readonly string[] = [], env: Record<string, string> = {}): Promise<Ran> => alumnus(['run', 'list', '-o', 'name', ...flags], env);

describe('a context', () => {
  test('names address, TLS and token once: calls go over TLS and carry it, a watched run\'s, too', async () => {
    expect(await secured('prod', '--token-file', file('token'))).toMatchObject({ code: 0, out: 'Context prod is made.\n' });
    expect(await list()).toMatchObject({ code: 0, out: 'r1\n' });
    expect((await alumnus(['run', 'watch', 'r1', '-o', 'jsonl'])).code).toBe(0);
    expect(seen).toEqual([`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]);
  });
  test('is kept where its owner alone reads it, and no command prints its token', async () => {
    expect((await secured('prod', '--token', TOKEN, '-o', 'json')).out).toContain('REDACTED');
    expect(statSync(configFile).mode & 0o777).toBe(0o600);
    expect(parse(readFileSync(configFile, 'utf8'))).toEqual({ apiVersion: 'alumnus/v1', kind: 'Config', currentContext: 'prod', contexts: { prod: { address: addresses.tls, tls: { ca: server.certificate }, token: TOKEN } } });
    for (const form of ['table', 'wide', 'json', 'jsonl', 'yaml', 'name']) {
      for (const command of [['view'], ['get-contexts'], ['current-context'], ['use-context', 'prod']]) {
        const ran = await alumnus(['config', ...command, '-o', form]);
        expect([ran.code, ran.out + ran.err], `${command.join(' ')} -o ${form}`).toEqual([0, expect.not.stringContaining(TOKEN)]);
      }
    }
    expect((await alumnus(['config', 'delete-context', 'prod', '-o', 'json'])).out).not.toContain(TOKEN);
    expect((await alumnus(['config', 'get-contexts', '-o', 'name'])).out).toBe('');
  });
  test('is changed field by field, chosen and forgotten', async () => {
    await secured('a', '--token', 'one');
    await alumnus(['config', 'set-context', 'b', '--address', 'b:1,c:2', '--tls']);
    expect((await alumnus(['config', 'current-context'])).out).toBe('a\n');
    await alumnus(['config', 'set-context', 'a', '--tls-server-name', 'coordinator.test', '--no-token']);
    expect(JSON.parse((await alumnus(['config', 'view', '-o', 'json'])).out)).toMatchObject({
      kind: 'Config', contexts: { a: { address: addresses.tls, tls: { ca: server.certificate, serverName: 'coordinator.test' } }, b: { address: 'b:1,c:2', tls: {} } },
    });
    expect(JSON.parse((await alumnus(['config', 'view', '-o', 'json'])).out)).not.toHaveProperty('contexts.a.token');
    await alumnus(['config', 'set-context', 'a', '--no-tls']);
    expect(JSON.parse((await alumnus(['config', 'view', '-o', 'json'])).out)).not.toHaveProperty('contexts.a.tls');
    expect((await alumnus(['config', 'use-context', 'b'])).code).toBe(0);
    expect((await alumnus(['config', 'delete-context', 'b'])).err).toContain('alumnus config use-context');
    expect(await alumnus(['config', 'current-context'])).toMatchObject({ code: 2, err: expect.stringContaining('no context is chosen') });
    expect(await alumnus(['config', 'use-context', 'b'])).toMatchObject({ code: 2, err: expect.stringContaining('there is no context "b"; there are a') });
  });
});

describe('which coordinator is meant', () => {
  beforeEach(async () => {
    await secured('prod', '--token', TOKEN);
    await alumnus(['config', 'set-context', 'plain', '--address', addresses.plain, '--token', 'another']);
  });
  test('the flag\'s, before the context\'s', async () => {
    expect(await list(['--address', addresses.plain])).toMatchObject({ code: 6 });
    expect(seen).toEqual(['']);
  });
  test('the environment\'s, before the current context\'s, which then is not looked at', async () => {
    expect(await list([], { ALUMNUS_ADDRESS: addresses.plain, ALUMNUS_TOKEN: TOKEN })).toMatchObject({ code: 0, out: 'r1\n' });
    expect(await list([], { ALUMNUS_ADDRESS: addresses.plain })).toMatchObject({ code: 6 });
    expect(seen).toEqual([`Bearer ${TOKEN}`, '']);
  });
  test('ALUMNUS_CONTEXT\'s, and before it --context\'s, which goes before the rest of the environment, too', async () => {
    expect(await list([], { ALUMNUS_CONTEXT: 'plain' })).toMatchObject({ code: 6 });
    expect(await list(['--context', 'prod'], { ALUMNUS_CONTEXT: 'plain', ALUMNUS_ADDRESS: 'nowhere:1', ALUMNUS_TOKEN: 'another' })).toMatchObject({ code: 0, out: 'r1\n' });
    expect(seen).toEqual(['Bearer another', `Bearer ${TOKEN}`]);
    expect(await list(['--context', 'prodd'])).toMatchObject({ code: 2, err: expect.stringContaining('there is no context "prodd"; there are prod, plain') });
  });
  test('a token of the environment goes before the context\'s', async () => {
    expect(await list([], { ALUMNUS_TOKEN: 'another' })).toMatchObject({ code: 6 });
  });
});

describe('a call is refused', () => {
  test('without a token, and by one that may not: with exit code 6', async () => {
    expect(await list(['--address', addresses.plain])).toMatchObject({ code: 6, out: '', err: expect.stringMatching(/no token.*\[ACCESS_UNAUTHENTICATED\]\n$/) });
    expect(await list(['--address', addresses.plain], { ALUMNUS_TOKEN: 'another' })).toMatchObject({ code: 6, out: '', err: expect.stringMatching(/may not do this.*\[ACCESS_REFUSED\]\n$/) });
  });
  test('here already, where a token would go over the network in the clear; and no token is told', async () => {
    const away = await list(['--address', 'coordinator.example:7700'], { ALUMNUS_TOKEN: TOKEN });
    expect(away).toMatchObject({ code: 2, err: expect.stringMatching(/coordinator\.example:7700: a token would go there in the clear.*--insecure-token/) });
    expect(away.err).not.toContain(TOKEN);
    const bad = await list(['--address', addresses.plain], { ALUMNUS_TOKEN: 'two words' });
    expect(bad).toMatchObject({ code: 2, err: expect.stringMatching(/ALUMNUS_TOKEN: it holds no token/) });
    expect(bad.err).not.toContain('two words');
  });
});

describe('a connection that cannot be trusted says so, and what to do', () => {
  const flags = (): string[] => ['--address', addresses.tls, '--token-file', file('token')];
  test('a certificate of an unknown authority', async () => {
    expect(await list([...flags(), '--tls'])).toMatchObject({ code: 8, err: expect.stringMatching(/is not trusted.*--tls-ca.*\[ACCESS_UNTRUSTED\]\n$/) });
  });
  test('a certificate for another name', async () => {
    const { port } = new URL(`http://${addresses.tls}`);
    expect(await list(['--address', `localhost:${port}`, '--token-file', file('token'), '--tls-ca', server.certificate])).toMatchObject({ code: 8, err: expect.stringMatching(/is for another name.*\[ACCESS_UNTRUSTED\]\n$/) });
    await alumnus(['config', 'set-context', 'named', '--address', `localhost:${port}`, '--tls-ca', server.certificate, '--tls-server-name', 'coordinator.test', '--token-file', file('token')]);
    expect(await list(['--context', 'named'])).toMatchObject({ code: 0, out: 'r1\n' });
  });
  test('TLS where none is spoken, and none where it is', async () => {
    expect(await list(['--address', addresses.plain, '--tls-ca', server.certificate])).toMatchObject({ code: 8, err: expect.stringMatching(/does not speak TLS.*\[ACCESS_UNTRUSTED\]\n$/) });
    expect(await list(['--address', addresses.tls])).toMatchObject({ code: 5, err: expect.stringMatching(/ends the connection.*--tls-ca.*\[UNREACHABLE\]\n$/) });
  });
  test('files that are not there, or are no certificates', async () => {
    expect(await list([...flags(), '--tls-ca', file('absent.pem')])).toMatchObject({ code: 2, err: expect.stringMatching(/absent\.pem: there is no such file/) });
    expect(await list([...flags(), '--tls-ca', file('token')])).toMatchObject({ code: 2, err: expect.stringMatching(/TLS files cannot be used/) });
  });
  test('a coordinator that wants a certificate of the client\'s own', async () => {
    await alumnus(['config', 'set-context', 'mutual', '--address', addresses.mutual, '--tls-ca', server.certificate, '--token-file', file('token')]);
    expect((await list(['--context', 'mutual'])).code).not.toBe(0);
    await alumnus(['config', 'set-context', 'mutual', '--tls-cert', client.certificate, '--tls-key', client.key]);
    expect(await list(['--context', 'mutual'])).toMatchObject({ code: 0, out: 'r1\n' });
  });
});

test('a config file that does not read is named, and what is in it is not told', async () => {
  await secured('prod', '--token', TOKEN);
  writeFileSync(configFile, `contexts: {{{ ${TOKEN}`);
  const ran = await list();
  expect(ran).toMatchObject({ code: 2, err: expect.stringContaining(`${configFile}: it is no YAML`) });
  expect(ran.err).not.toContain(TOKEN);
});
