/**
 * How fast the page answers while a fleet reports: a real coordinator process, and beside it processes that speak for simulated workers over gRPC as real ones do (Register, Acquire, Renew with progress,
 * Complete), each with a lease on a shard of one run; and pages that are open follow that run. Requests are timed without the fleet's load and with it, in turns, each from a connection that stays open, as a browser's does.
 * What is checked: with the load, the median of each request's median is under 100 ms.
 * Told beside: when Chromium paints, where there is one.
 * What is not: work of workers (they only say that they do it), networks.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { credentials, type ServiceError } from '@grpc/grpc-js';
import { chromium, type Browser } from 'playwright-core';
import { importDataset, type Source } from '../dataset/index.ts';
import { OperatorServiceClient } from '../proto/gen/alumnus/v1/operator.ts';
import { openStore } from '../store/index.ts';
import { median, range } from './shared/figures.ts';
import type { FleetAnswer, FleetOrder } from './shared/fleet.ts';

export const description = 'how fast the page answers while simulated workers report (--workers N, default 10000; --lease-ms, --completions a second, --pages that are open, --repeats, --processes)';

const MEDIAN_MS_MAX = 100;
const RUN = 'large-1';
const shape = { height: 4, width: 4, channels: 1 as const };
const classes = ['a', 'b'];
const SHARD_SAMPLES = 2;
/** Timed requests of each kind a repeat, so far apart that each answer is made anew, as for one person who opens a page now and then. */
const REQUESTS = 12;
const APART_MS = 1_100;

const recipe = `
name: large
seed: 1
rounds: 1
control: false
data: { dataset: numbers }
models: { ladder: [{ model: cnn, width: 8 }] }
`;

/** Images that are told apart by four bytes. */
const numbers = (count: number): Source => ({
  name: 'numbers', classes, defaults: {}, notes: [], samplesExpected: count,
  async *samples() {
    for (let at = 0; at < count; at += 1) {
      const pixels = new Uint8Array(16);
      new DataView(pixels.buffer).setUint32(0, at);
      yield await Promise.resolve({ origin: `number ${at}`, pool: at < 200 ? 'train' as const : at < 300 ? 'test' as const : 'unlabeled' as const, ...(at < 300 ? { label: at % classes.length } : {}), image: { pixels, shape } });
    }
  },
});

async function coordinatorOf(home: string, leaseMs: number): Promise<{ process: ChildProcess; address: string; page: string }> {
  const program = fileURLToPath(new URL('../coordinator/main.js', import.meta.url));
  const child = spawn(process.execPath, [program, '--home', home, '--listen', '127.0.0.1:0', '--lease-ms', String(leaseMs)], { stdio: ['ignore', 'pipe', 'ignore'] });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', () => reject(new Error('the coordinator did not start')));
  });
  return { process: child, ...(JSON.parse(line) as { address: string; page: string }) };
}

/** A page that is open: it follows the run, and takes what it is told. */
function openPage(page: string, signal: AbortSignal): void {
  fetch(`${page}api/v1/stream?run=${RUN}`, { signal }).then(async ({ body }) => {
    for await (const _ of body!) { /* It reads on. */ }
  }).catch(() => undefined);
}

/** One process of simulated workers. */
class Fleet {
  readonly #child: ChildProcess;
  #ended: (error: Error) => void = () => undefined;

  constructor(order: FleetOrder) {
    this.#child = fork(fileURLToPath(new URL('./shared/fleet.js', import.meta.url)));
    this.#child.once('exit', () => this.#ended(new Error('a process of simulated workers ended')));
    this.#child.send(order);
  }

  ask(question: 'ready' | 'pause' | 'resume' | 'figures'): Promise<FleetAnswer> {
    return new Promise((resolve, reject) => {
      this.#ended = reject;
      this.#child.once('message', (answer) => resolve(answer as FleetAnswer));
      this.#child.send(question);
    });
  }

  stop(): void {
    this.#ended = () => undefined;
    this.#child.kill();
  }
}

/** In milliseconds, until the last byte of the body. */
function timed(agent: Agent, url: string): Promise<{ ms: number; bytes: number }> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    get(url, { agent, headers: { 'accept-encoding': 'gzip' } }, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.byteLength;
      });
      response.on('end', () => (response.statusCode === 200 ? resolve({ ms: performance.now() - startMs, bytes }) : reject(new Error(`${url}: status ${response.statusCode}`))));
    }).on('error', reject);
  });
}

/** Until a browser has painted anything, and until the run's map is drawn, in milliseconds from the beginning of the navigation. */
async function painted(browser: Browser, page: string): Promise<{ first: number; map: number }> {
  const context = await browser.newContext();
  try {
    const tab = await context.newPage();
    const startMs = performance.now();
    await tab.goto(`${page}#/runs/${RUN}`);
    await tab.locator('.shard-map canvas[data-cells]').waitFor({ timeout: 60_000 });
    const map = performance.now() - startMs;
    const first = await tab.evaluate<number>(`performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN`);
    return { first, map };
  } finally {
    await context.close();
  }
}

/** Without one, what a browser paints is left out, and said. */
const chromiumPath = (): string | undefined =>
  process.env['CHROMIUM'] ?? (process.env['PATH'] ?? '').split(delimiter).flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(folder, name))).find((path) => existsSync(path));

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args, options: {
      workers: { type: 'string', default: '10000' }, 'lease-ms': { type: 'string', default: '30000' }, completions: { type: 'string', default: '20' }, repeats: { type: 'string', default: '5' }, processes: { type: 'string', default: '2' },
      pages: { type: 'string', default: '20' }, hold: { type: 'boolean', default: false },
    },
  });
  const [workers, leaseMs, completions, repeats, processes, pages] = [values.workers, values['lease-ms'], values.completions, values.repeats, values.processes, values.pages].map(Number) as [number, number, number, number, number, number];
  const home = await mkdtemp(join(tmpdir(), 'alumnus-bench-'));
  const fleets: Fleet[] = [];
  let coordinator: ChildProcess | undefined;
  try {
    // Some shards more than workers, so that who is done with one finds another.
    const shards = Math.ceil(workers * 1.5);
    process.stdout.write(`page: a set of ${shards} shards is written\n`);
    await importDataset(await openStore(pathToFileURL(join(home, 'store')).href), numbers(300 + shards * SHARD_SAMPLES), { name: 'numbers', labeled: 100, validation: 100, shardSamples: SHARD_SAMPLES, seed: 1 });
    const started = await coordinatorOf(home, leaseMs);
    coordinator = started.process;
    const { address, page } = started;
    const client = new OperatorServiceClient(address, credentials.createInsecure());
    await new Promise<void>((resolve, reject) => client.submitRun({ recipe, runId: RUN }, (error: ServiceError | null) => (error === null ? resolve() : reject(error))));
    client.close();
    for (let at = 0; at < processes; at += 1) {
      const own = Math.floor((workers * (at + 1)) / processes) - Math.floor((workers * at) / processes);
      fleets.push(new Fleet({ address, prefix: `sim-${at}`, workers: own, leads: at === 0, completionsPerSecond: completions / processes }));
      await fleets[at]!.ask('ready');
    }
    process.stdout.write(`page: ${workers} simulated workers are there, of ${processes} processes; leases of ${leaseMs} ms, each renewed four times in it; ${completions} shards done a second; ${pages} pages are open; the page is at ${page}\n`);
    if (values.hold) {
      process.stdout.write('page: held until Ctrl-C\n');
      await new Promise((resolve) => process.once('SIGINT', resolve));
      return;
    }
    const questions = ['', 'api/v1/runs', `api/v1/runs/${RUN}`, 'api/v1/workers?from=0&count=100', 'api/v1/workers?from=5000&count=100&state=busy', 'api/v1/workers?count=100000', `api/v1/runs/${RUN}/shards`];
    const figures = new Map<string, { ms: number[]; slowest: number[]; bytes: number }>();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      for (const load of repeat % 2 === 0 ? [false, true] : [true, false]) {
        for (const fleet of fleets) await fleet.ask(load ? 'resume' : 'pause');
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        const closing = new AbortController();
        if (load) for (let at = 0; at < pages; at += 1) openPage(page, closing.signal);
        await Promise.all(fleets.map((fleet) => fleet.ask('figures')));
        const startMs = performance.now();
        const seen = new Map(questions.map((question) => [question, { ms: [] as number[], bytes: 0 }]));
        for (let at = 0; at < REQUESTS; at += 1) {
          for (const question of questions) {
            const { ms, bytes } = await timed(agent, `${page}${question}`);
            const own = seen.get(question)!;
            own.ms.push(ms);
            own.bytes = bytes;
          }
          await new Promise((resolve) => setTimeout(resolve, APART_MS));
        }
        closing.abort();
        const seconds = (performance.now() - startMs) / 1000;
        const told = await Promise.all(fleets.map((fleet) => fleet.ask('figures')));
        const sum = (of: (answer: FleetAnswer) => number): number => told.reduce((total, answer) => total + of(answer), 0);
        process.stdout.write(`page: ${load ? 'with' : 'without'} load, repeat ${repeat + 1}: ${(sum(({ calls }) => calls) / seconds).toFixed(0)} calls a second answered, renewals in ${median(told.map(({ renewMs }) => renewMs)).toFixed(1)} ms (median), ${sum(({ lost }) => lost)} leases lost\n`);
        for (const [question, { ms, bytes }] of seen) {
          const key = `${load ? 'with' : 'without'} ${question}`;
          const own = figures.get(key) ?? { ms: [], slowest: [], bytes };
          figures.set(key, own);
          own.ms.push(median(ms));
          own.slowest.push([...ms].sort((a, b) => a - b)[Math.floor(0.95 * ms.length)]!);
        }
      }
    }
    agent.destroy();
    const executablePath = chromiumPath();
    if (executablePath === undefined) process.stdout.write('page: there is no Chromium: when it paints is left out\n');
    else {
      for (const fleet of fleets) await fleet.ask('resume');
      const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
      try {
        const seen: { first: number; map: number }[] = [];
        for (let at = 0; at < repeats; at += 1) seen.push(await painted(browser, page));
        process.stdout.write(`page: in Chromium ${browser.version()}, with load: first paint after ${range(seen.map(({ first }) => first), 0)} ms, the map of ${shards} shards after ${range(seen.map(({ map }) => map), 0)} ms\n`);
      } finally {
        await browser.close();
      }
    }
    const slow: string[] = [];
    for (const question of questions) {
      // Of all workers at once no page asks.
      const isOfPage = !question.includes('100000');
      const [without, loaded] = [figures.get(`without ${question}`)!, figures.get(`with ${question}`)!];
      process.stdout.write(`page: GET /${question}: ${range(loaded.ms, 1)} ms with load, p95 ${range(loaded.slowest, 1)}; ${range(without.ms, 1)} without, p95 ${range(without.slowest, 1)}; ${(loaded.bytes / 1024).toFixed(1)} KiB sent\n`);
      if (isOfPage && median(loaded.ms) >= MEDIAN_MS_MAX) slow.push(`/${question}`);
    }
    if (slow.length > 0) throw new Error(`with load, ${slow.join(' and ')} took ${MEDIAN_MS_MAX} ms or more`);
  } finally {
    for (const fleet of fleets) fleet.stop();
    coordinator?.kill('SIGTERM');
    if (coordinator !== undefined) await new Promise((resolve) => coordinator?.once('exit', resolve));
    await rm(home, { recursive: true, force: true, maxRetries: 3 });
  }
}
