/** The command line as processes: a coordinator and workers that it starts, interrupts, kills and finds again. Needs dist/. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { PNG } from 'pngjs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { commandLine, runCommand, type Ran } from '../harness/command.ts';

const classes = ['bar', 'cross', 'ring'];

let folder = '';
let home = '';
const started = new Set<ChildProcess>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alumnus-cli-'));
  home = join(folder, 'home');
  for (const [index, name] of classes.entries()) {
    await mkdir(join(folder, 'images', name), { recursive: true });
    for (let at = 0; at < 60; at += 1) await writeFile(join(folder, 'images', name, `${at}.png`), picture(index, at));
  }
});
afterEach(() => {
  for (const child of started) child.kill('SIGKILL');
  started.clear();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A 16 x 16 picture of a bar, a cross or a ring, no two alike. */
function picture(kind: number, at: number): Buffer {
  const png = new PNG({ width: 16, height: 16, colorType: 0 });
  const [centerX, centerY] = [6 + (at % 5), 6 + (Math.floor(at / 5) % 4)];
  for (let y = 0; y < 16; y += 1) {
    for (let x = 0; x < 16; x += 1) {
      const [dx, dy] = [Math.abs(x - centerX), Math.abs(y - centerY)];
      const on = kind === 0 ? dx < 2 : kind === 1 ? (dx < 2 || dy < 2) && dx + dy < 8 : Math.abs(Math.hypot(dx, dy) - 4) < 1.2;
      const value = on ? 255 - at : (x * 7 + y * 13 + at) % 23;
      png.data.set([value, value, value, 255], (y * 16 + x) * 4);
    }
  }
  return PNG.sync.write(png, { colorType: 0 });
}

const alumnus = (...args: string[]): Promise<Ran> => runCommand(args, { HOME: folder });

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;
  /** Resolves when stdout or stderr has matched. */
  saw(pattern: RegExp): Promise<RegExpExecArray>;
}

function start(...args: string[]): Running {
  const child = spawn(process.execPath, [commandLine, ...args], { env: { ...process.env, HOME: folder }, stdio: ['ignore', 'pipe', 'pipe'] });
  started.add(child);
  const text = { out: '', err: '' };
  const listeners = new Set<() => void>();
  for (const kind of ['out', 'err'] as const) {
    child[kind === 'out' ? 'stdout' : 'stderr'].setEncoding('utf8').on('data', (chunk: string) => {
      text[kind] += chunk;
      for (const listener of listeners) listener();
    });
  }
  const ended = new Promise<Ran>((resolve) => child.once('close', (code) => {
    started.delete(child);
    for (const listener of listeners) listener();
    resolve({ code: code ?? -1, ...text });
  }));
  return {
    child, ended,
    saw: (pattern) => new Promise((resolve, reject) => {
      const check = (): void => {
        const match = pattern.exec(text.out) ?? pattern.exec(text.err);
        if (match !== null) resolve(match);
        else if (child.exitCode !== null || child.signalCode !== null) reject(new Error(`ended before ${pattern}:\n${text.out}\n${text.err}`));
        else return;
        listeners.delete(check);
      };
      listeners.add(check);
      check();
    }),
  };
}

/** Processes whose command line names our folder, the engines' too. */
const left = (): string[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    return line.includes(folder) ? [line] : [];
  } catch {
    return [];
  }
});

async function gone(): Promise<void> {
  while (left().length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
}

test('what a coordinator ends with is an error as any other, and names and quotes what it was given', async () => {
  const home = join(folder, 'wrong');
  const journal = await alumnus('coordinator', '--home', home, '--store', join(home, 'store'), '--journal', 'nats://ada:secret@h:4222');
  expect(journal).toMatchObject({ code: 2, out: '' });
  expect(journal.err.trimEnd().split('\n').at(-1)).toMatch(/^error: --journal: "nats:\/\/…@h:4222": credentials go into the environment .*\[USAGE\]$/);
  process.env['ALUMNUS_JOURNAL'] = 'http://h';
  try {
    const fromEnvironment = await alumnus('coordinator', '--store', join(home, 'store'));
    expect(fromEnvironment.code).toBe(2);
    expect(fromEnvironment.err).toMatch(/^error: ALUMNUS_JOURNAL: "http:\/\/h": the journal's URL begins with nats:\/\/ or tls:\/\/.*\[USAGE\]$/m);
  } finally {
    delete process.env['ALUMNUS_JOURNAL'];
  }
});

test('a coordinator answers, refuses a second on its port, and ends on Ctrl-C', async () => {
  const coordinator = start('coordinator', '--listen', '127.0.0.1:0', '--home', join(folder, 'one'));
  const [, address = ''] = await coordinator.saw(/"address":"([^"]+)"/);
  const status = JSON.parse((await alumnus('status', '--address', address, '-o', 'json')).out);
  expect(status).toMatchObject({ apiVersion: 'alumnus/v1', kind: 'Status', workers: 0 });
  expect(await alumnus('run', 'list', '--address', address)).toMatchObject({ code: 0, out: '', err: expect.stringContaining('alumnus run submit') });
  const unknown = await alumnus('run', 'describe', 'nobody', '--address', address);
  expect(unknown).toMatchObject({ code: 3, out: '', err: 'error: nobody: there is no such run. List the runs with `alumnus run list`. [RUN_NOT_FOUND]\n' });
  const second = await alumnus('coordinator', '--listen', address, '--home', join(folder, 'two'));
  expect(second.code).toBe(8);
  expect(second.err).toMatch(/^error: .*\[PORT_IN_USE\]\n$/);
  coordinator.child.kill('SIGINT');
  expect((await coordinator.ended).code).toBe(130);
  expect(left()).toEqual([]);
});

test('a coordinator and a worker whose command was killed stop by themselves, the engine too', async () => {
  const coordinator = start('coordinator', '--listen', '127.0.0.1:0', '--home', join(folder, 'killed'));
  const [, address = ''] = await coordinator.saw(/"address":"([^"]+)"/);
  const worker = start('worker', '--coordinator', address, '--home', join(folder, 'killed'), '--threads', '1', '--count', '2', '--id', 'orphan');
  await Promise.all([worker.saw(/orphan-1 registered/), worker.saw(/orphan-2 registered/)]);
  worker.child.kill('SIGKILL');
  while (left().some((line) => line.includes('orphan'))) await new Promise((resolve) => setTimeout(resolve, 50));
  // The coordinator looks twice a second whether a worker that waits for work is still there.
  await expect.poll(async () => (JSON.parse((await alumnus('status', '--address', address, '-o', 'json')).out) as { workers: number }).workers, { timeout: 20_000 }).toBe(0);
  coordinator.child.kill('SIGKILL');
  await gone();
});

describe('datasets', () => {
  const imported = ['dataset', 'import', 'folder'];

  test('are imported, listed, inspected and verified; damage is named with its file', async () => {
    const spare = join(folder, 'spare');
    const made = await alumnus(...imported, join(folder, 'images'), '--name', 'shapes', '--labeled-per-class', '10', '--validation', '30', '--test-images', '30', '--home', spare, '-o', 'json');
    expect(made.err).not.toContain('error:');
    expect(JSON.parse(made.out)).toMatchObject({ kind: 'Dataset', name: 'shapes', classes });
    expect((await alumnus('dataset', 'list', '--home', spare, '-o', 'name')).out).toBe('shapes\n');
    const inspected = JSON.parse((await alumnus('dataset', 'inspect', 'shapes', '--home', spare, '-o', 'json')).out);
    expect(inspected.parts.map((part: { part: string; samples: number }) => [part.part, part.samples])).toEqual([['labeled', 30], ['unlabeled', 90], ['validation', 30], ['test', 30]]);
    expect(await alumnus('dataset', 'verify', 'shapes', '--home', spare)).toMatchObject({ code: 0, out: 'shapes: every byte is as it was imported.\n' });

    const shard = readdirSync(spare, { recursive: true }).map(String).find((path) => path.includes('unlabeled') && path.endsWith('.tar')) ?? '';
    await truncate(join(spare, shard), 2048);
    const damaged = await alumnus('dataset', 'verify', 'shapes', '--home', spare);
    expect(damaged.code).toBe(7);
    expect(damaged.out).toContain(basename(shard));
    const absent = await alumnus('dataset', 'inspect', 'absent', '--home', spare);
    expect(absent).toMatchObject({ code: 3, out: '' });
    expect(absent.err).toMatch(/^error: absent: .*\[DATASET_NOT_FOUND\]\n$/);
  });
});

describe('the demo', () => {
  const recipe = `name: shapes
rounds: 1
data: { dataset: shapes }
models: { ladder: [{ model: cnn, width: 4, dense: 16 }] }
training: { teacher: { steps: 60, batch_labeled: 16 }, student: { steps: 400, batch_labeled: 16, batch_unlabeled: 16 } }
noise: { input: { name: affine, degrees: 5, translate_pixels: 1 } }
labels: { batch_size: 32 }
control: true
`;
  const demo = (): string[] => ['demo', '--home', home, '--recipe', join(folder, 'recipe.yaml'), '--threads', '1', '-v'];

  beforeAll(async () => {
    await writeFile(join(folder, 'recipe.yaml'), recipe);
    const made = await alumnus('dataset', 'import', 'folder', join(folder, 'images'), '--name', 'shapes', '--labeled-per-class', '10', '--validation', '30', '--test-images', '30', '--home', home);
    expect(made.err).not.toContain('error:');
  });

  test('interrupted goes on where it stopped; killed leaves nothing that the next does not stop; ends with its report', async () => {
    const interrupted = start(...demo());
    await interrupted.saw(/first task started/);
    interrupted.child.kill('SIGINT');
    const first = await interrupted.ended;
    expect(first.code).toBe(130);
    expect(first.out).toBe('');
    expect(first.err).toContain('The same command goes on where it stopped.');
    await gone();

    const killed = start(...demo());
    await killed.saw(/first task started/);
    const other = await alumnus(...demo());
    expect(other.code).toBe(4);
    expect(other.err).toContain('[HOME_IN_USE]');
    killed.child.kill('SIGKILL');
    expect((await killed.ended).err).toMatch(/Going on with run shapes-\w+/);
    expect(left().length).toBeGreaterThan(0);

    const last = await alumnus(...demo());
    expect(last.err).toMatch(/stopping 3 processes that an interrupted demo left running/);
    expect(last.err).toMatch(/Going on with run shapes-\w+/);
    expect(last.code).toBe(0);
    expect(last.out).toContain('control');
    expect(last.out).toMatch(/the control: \d/);
    const report = last.out.trimEnd().split('\n').at(-1) ?? '';
    expect(report.startsWith(join(home, 'reports'))).toBe(true);
    const page = await readFile(report, 'utf8');
    expect(page).toContain('data:image/png;base64,');
    expect(page).not.toMatch(/NaN|undefined/);
    await gone();
  });

  test('without a dataset that its recipe names says so and leaves nothing running', async () => {
    await writeFile(join(folder, 'absent.yaml'), recipe.replace('dataset: shapes', 'dataset: absent'));
    const ran = await alumnus('demo', '--home', join(folder, 'empty'), '--recipe', join(folder, 'absent.yaml'));
    expect(ran.code).toBe(3);
    expect(ran.err).toMatch(/error: absent: .*\[DATASET_NOT_FOUND\]/);
    await gone();
  });
});
