/** Who may do what, over TLS and by tokens, what a project may have, and what is told at night: real coordinators and workers, through the command line. */
import { createHmac } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { makeCertificate } from '../harness/certificate.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { runCommand, type Ran } from '../harness/command.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';
import { pause } from '../harness/processes.ts';

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
const servers: Server[] = [];

beforeAll(async () => {
  template = await patternsHome();
});
afterAll(() => template.remove());
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

interface Member {
  readonly token: string;
  readonly lines: string;
}

/** As `alumnus access token` gives it to people. */
async function member(name: string, role: string, project = '*'): Promise<Member> {
  const made = await runCommand(['access', 'token', name, '--role', role, '--project', project]);
  expect(made.code).toBe(0);
  return { token: made.out.trim(), lines: made.err.split('\n').filter((line) => line.startsWith(' ')).join('\n') };
}

const listed = (ran: Ran): { runId: string; project: string }[] => (JSON.parse(ran.out) as { items: { runId: string; project: string }[] }).items;

test('over TLS, each with a token: viewers read, operators steer, workers work, each in their projects, and nobody else does anything', async () => {
  const cluster = await Cluster.create({ template: template.home });
  const certificate = { cert: join(cluster.folder, 'cert.pem'), key: join(cluster.folder, 'key.pem') };
  makeCertificate({ certificate: certificate.cert, key: certificate.key }, ['IP:127.0.0.1']);
  const [ana, vera, olaf, worker] = [await member('ana', 'operator'), await member('vera', 'viewer', 'birds'), await member('olaf', 'operator', 'birds'), await member('gpus', 'worker')];
  const file = join(cluster.folder, 'access.yaml');
  await writeFile(file, `members:\n${[ana, vera, olaf, worker].map(({ lines }) => lines).join('\n')}\nprojects:\n  birds: {}\n  fish: {}\n`);
  expect(await runCommand(['access', 'check', file])).toMatchObject({ code: 0, out: expect.stringContaining('birds, fish') });
  await cluster.startCoordinator(['--access', file, '--tls-cert', certificate.cert, '--tls-key', certificate.key]);
  const recipe = join(cluster.folder, 'recipe.yaml');
  await writeFile(recipe, patternsRecipe({ rounds: 1, control: false }));
  const as = (who: Member | undefined) => (...args: string[]): Promise<Ran> => runCommand([...args, '--address', cluster.address, '--tls-ca', certificate.cert], who === undefined ? {} : { ALUMNUS_TOKEN: who.token });

  expect(await as(undefined)('run', 'list')).toMatchObject({ code: 6, err: expect.stringContaining('[ACCESS_UNAUTHENTICATED]') });
  expect(await as({ token: 'guessed', lines: '' })('status')).toMatchObject({ code: 6, err: expect.stringContaining('[ACCESS_UNAUTHENTICATED]') });
  expect(await as(olaf)('run', 'submit', recipe, '--run-id', 'of-birds', '--project', 'birds')).toMatchObject({ code: 0 });
  expect(await as(ana)('run', 'submit', recipe, '--run-id', 'of-fish', '--project', 'fish')).toMatchObject({ code: 0 });
  expect(await as(olaf)('run', 'submit', recipe, '--run-id', 'other', '--project', 'fish')).toMatchObject({ code: 6, err: expect.stringContaining('[ACCESS_REFUSED]') });
  expect(await as(ana)('run', 'submit', recipe, '--project', 'fsh')).toMatchObject({ code: 2, err: expect.stringContaining('there is no such project; there are default, birds, fish') });
  expect(listed(await as(ana)('run', 'list', '-o', 'json')).map(({ runId }) => runId).sort((a, b) => (a < b ? -1 : 1))).toEqual(['of-birds', 'of-fish']);
  expect(listed(await as(vera)('run', 'list', '-o', 'json'))).toMatchObject([{ runId: 'of-birds', project: 'birds' }]);
  expect(await as(vera)('run', 'describe', 'of-fish')).toMatchObject({ code: 6 });
  expect(await as(vera)('run', 'watch', 'of-fish')).toMatchObject({ code: 6 });
  expect(await as(vera)('run', 'pause', 'of-birds')).toMatchObject({ code: 6, err: expect.stringContaining('vera is a viewer in project birds') });
  expect(await as(olaf)('reconcile', '--dry-run')).toMatchObject({ code: 6 });
  expect(await as(olaf)('run', 'pause', 'of-birds', '--reason', 'lunch', '-o', 'json')).toMatchObject({ code: 0, out: expect.stringContaining('olaf: lunch') });
  expect(await as(olaf)('run', 'resume', 'of-birds')).toMatchObject({ code: 0 });

  const stranger = cluster.startWorker('stranger', cluster.address, ['--tls-ca', certificate.cert]);
  await stranger.child.ended;
  expect(cluster.log('stranger')).toContain('[ACCESS_UNAUTHENTICATED]');
  const tokenFile = join(cluster.folder, 'worker.token');
  await writeFile(tokenFile, worker.token);
  cluster.startWorker('worker-1', cluster.address, ['--tls-ca', certificate.cert, '--token-file', tokenFile]);
  expect(await as(vera)('run', 'wait', 'of-birds', '--timeout', '120')).toMatchObject({ code: 0 });
  // The flag is that of the verb, though `worker` has one of the same name.
  expect(await runCommand(['worker', 'list', '--address', cluster.address, '--tls-ca', certificate.cert, '--token-file', tokenFile, '-o', 'name'])).toMatchObject({ code: 0, out: 'worker-1\n' });
  // What a worker may ask is to be given tasks.
  expect(await as(worker)('run', 'cancel', 'of-fish')).toMatchObject({ code: 6 });
});

test('a project has no more workers at once than its quota, takes no run beyond its bytes, and the file is read again when it changes', async () => {
  const cluster = await Cluster.create({ template: template.home });
  const file = join(cluster.folder, 'access.yaml');
  await writeFile(file, 'anonymous: operator\nprojects: { small: { devices: 1, bytes: 1 KiB } }\n');
  await cluster.start(undefined, ['--access', file]);
  const command = (...args: string[]): Promise<Ran> => runCommand([...args, '--address', cluster.address]);
  const recipe = join(cluster.folder, 'recipe.yaml');
  await writeFile(recipe, patternsRecipe({ rounds: 1, control: true, teacherSteps: 2_000 }));
  expect(await command('run', 'submit', recipe, '--run-id', 'first', '--project', 'small')).toMatchObject({ code: 0 });
  const view = await cluster.waitForRun('first', ({ tasks }) => tasks.some(({ state }) => state === 'leased'), 'leased');
  const waiting = view.tasks.find(({ state }) => state === 'waiting')?.task?.taskId ?? '';
  expect(JSON.parse((await command('task', 'explain', waiting, '-o', 'json')).out)).toMatchObject({ reasons: expect.arrayContaining([expect.objectContaining({ kind: 'quota', text: 'project small has a worker, which is all that its quota allows at once' })]) as unknown });
  const paused = await cluster.settled('first', 'paused');
  expect(paused.summary?.reason).toMatch(/^the project has taken [\d.]+ KiB of its 1 KiB in the object store; it goes on/);
  expect(await command('run', 'submit', recipe, '--project', 'small')).toMatchObject({ code: 6, err: expect.stringContaining('[QUOTA_SPENT]') });

  await writeFile(file, 'anonymous: operator\nprojects: { small: { bytes: 1 GiB } }\n');
  await until(() => cluster.log('coordinator').includes('is read again'));
  expect(await command('run', 'resume', 'first')).toMatchObject({ code: 0 });
  await cluster.settled('first', 'succeeded');
  await writeFile(file, 'anonymous: everybody\n');
  await until(() => cluster.log('coordinator').includes('[ACCESS_INVALID]'));
  expect(await command('run', 'list')).toMatchObject({ code: 0 });
});

test('webhooks are told what they asked for, signed, and again where they did not take it', async () => {
  const cluster = await Cluster.create({ template: template.home });
  const told: { body: string; signature: string }[] = [];
  let refusals = 1;
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      if (refusals > 0) {
        refusals -= 1;
        response.writeHead(503).end();
        return;
      }
      told.push({ body, signature: String(request.headers['x-alumnus-signature-256']) });
      response.writeHead(204).end();
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const file = join(cluster.folder, 'access.yaml');
  await writeFile(file, `anonymous: operator\nprojects:\n  birds:\n    webhooks:\n      - { url: "http://127.0.0.1:${port}/hook", on: [paused, done], secret_env: NODE_OPTIONS_SECRET }\n`);
  const refused = cluster.spawnCoordinator(['--access', file], 'refused');
  await refused.ended;
  expect(cluster.log('refused')).toContain('NODE_OPTIONS_SECRET is not set');
  process.env['NODE_OPTIONS_SECRET'] = 'known to both';
  await cluster.start(['worker-1'], ['--access', file]).finally(() => delete process.env['NODE_OPTIONS_SECRET']);
  const command = (...args: string[]): Promise<Ran> => runCommand([...args, '--address', cluster.address]);
  const recipe = join(cluster.folder, 'recipe.yaml');
  await writeFile(recipe, patternsRecipe({ rounds: 1, control: false }));
  await command('run', 'submit', recipe, '--run-id', 'heard', '--project', 'birds');
  await command('run', 'pause', 'heard', '--reason', 'lunch');
  await until(() => told.length === 1);
  await command('run', 'resume', 'heard');
  await cluster.settled('heard', 'succeeded');
  await until(() => told.length === 2);
  expect(told.map(({ body }) => JSON.parse(body) as unknown)).toMatchObject([
    { apiVersion: 'alumnus/v1', kind: 'Notice', notice: 'paused', runId: 'heard', project: 'birds', text: 'run heard: is paused by operator: lunch' },
    { notice: 'done', text: expect.stringContaining('run heard: succeeded with the model of iteration ') as string },
  ]);
  for (const { body, signature } of told) expect(signature).toBe(`sha256=${createHmac('sha256', 'known to both').update(body).digest('hex')}`);
});

const UNTIL_MS_MAX = 60_000;

async function until(is: () => boolean): Promise<void> {
  const endMs = Date.now() + UNTIL_MS_MAX;
  while (!is()) {
    if (Date.now() > endMs) throw new Error('it did not come to that');
    await pause(50);
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  return body;
}
