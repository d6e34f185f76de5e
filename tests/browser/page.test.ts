/**
 * The page of an exported model in a real Chromium: on wasm and on WebGL it shows what the worker predicts. Prints how long predictions take on wasm;
 * of WebGL nothing is said, because headless it is computed in software.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { dirname, extname, join, normalize } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodePng, type ImageShape } from '../../dataset/index.ts';
import type { Architecture } from '../../recipe/index.ts';
import { createPredictor } from '../../worker/learning/index.ts';
import { dequantizedWeights, portableFiles, type WeightScheme } from '../../worker/portable/index.ts';
import { loadTensorFlow } from '../../worker/tensorflow/index.ts';
import { imagesOf, weightsOf } from '../unit/portable/models.ts';
import { chromiumPath, leftOut, openBrowser } from './chromium.ts';

const path = chromiumPath(process.env);
if (path === undefined) process.stderr.write(`left out: pages in a browser: ${leftOut}\n`);

const folder = mkdtempSync(join(tmpdir(), 'pages-'));
let server: Server;
let browser: Browser;
beforeAll(async () => {
  if (path === undefined) return;
  loadTensorFlow({ threads: 2 });
  const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.wasm': 'application/wasm', '.png': 'image/png' };
  server = createServer((request, response) => {
    const file = normalize(new URL(request.url!, 'http://localhost').pathname).replace(/\/$/, '/index.html');
    readFile(join(folder, file)).then(
      content => response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' }).end(content),
      () => response.writeHead(404).end());
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  browser = await openBrowser(path);
});
afterAll(async () => {
  await browser?.close();
  server?.close();
  rmSync(folder, { recursive: true });
});

/** WebGL in software compiles a program for each operation and shape, on a busy machine for a minute. */
const waitMs = 180_000;

interface Shown { backend: string; probabilities: number[]; ms: number }

/** What a page's program sees; the types of browsers are no part of this project's. */
type InPage = { document: { getElementById(id: string): { dataset: { result?: string } } } };

/** What the page shows once it has a result on that backend, other than the one `before`. */
async function shown(page: Page, backend: string, before?: Shown): Promise<Shown> {
  await page.waitForFunction(([wanted, old]) => {
    const { result } = (globalThis as unknown as InPage).document.getElementById('classes').dataset;
    return result !== undefined && result !== old && (JSON.parse(result) as { backend: string }).backend === wanted;
  }, [backend, before && JSON.stringify(before)] as const, { timeout: waitMs });
  return JSON.parse((await page.locator('#classes').getAttribute('data-result'))!) as Shown;
}

const square = (name: string, options: Record<string, number>, side: number, channels: number): Architecture => ({ model: { name, options }, input: { height: side, width: side, channels }, classes: 10 });
const models: readonly (readonly [WeightScheme, Architecture])[] = [
  ['float32', square('cnn', { width: 16 }, 28, 1)], ['int8', square('cnn', { width: 16 }, 28, 1)],
  ['float16', square('efficientnet-b0', { width: 0.1, depth: 0.1, stem_stride: 1 }, 32, 3)], ['float32', square('deit-tiny', { patch: 4, width: 48, depth: 2 }, 32, 3)],
];

describe.skipIf(path === undefined)(path === undefined ? `the page of an exported model (left out: ${leftOut})` : 'the page of an exported model', () => {
  it.each(models.map(([scheme, architecture]) => [scheme, architecture.model.name, architecture] as const))('shows what the worker predicts, on wasm and WebGL: %s %s', async (scheme, name, architecture) => {
    const { input: { height, width, channels } } = architecture;
    const weights = weightsOf(architecture);
    const count = 3;
    const images = imagesOf(architecture, count);
    const size = height * width * channels;
    const pngs = Array.from({ length: count }, (_, at) => encodePng(images.subarray(at * size, (at + 1) * size), architecture.input as ImageShape));
    const classNames = Array.from({ length: 10 }, (_, at) => (at === 0 ? '<b>zero</b>' : `class ${at}`));
    const document = Buffer.from(JSON.stringify({ schemaVersion: 1, architecture, classNames, weights: { sha256: 'ab'.repeat(32) }, lineage: {} }));
    const place = `${name}-${scheme}`;
    for (const { name: file, content } of await portableFiles(document, weights, { format: 'tfjs-graph', scheme, page: { samples: pngs.slice(1).map(bytes => ({ extension: 'png', bytes })) } })) {
      mkdirSync(dirname(join(folder, place, file)), { recursive: true });
      writeFileSync(join(folder, place, file), content);
    }
    const predictor = await createPredictor(architecture, dequantizedWeights(architecture, weights, scheme), count);
    const ours = (await predictor.logProbabilities(images, count)).map(Math.exp);
    predictor.dispose();
    const distance = (at: number, theirs: readonly number[]): number => Math.max(...theirs.map((value, index) => Math.abs(value - ours[at * 10 + index]!)));

    const page = await browser.newPage({ viewport: { width: 800, height: 640 } });
    const problems: string[] = [];
    const elsewhere: string[] = [];
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    page.on('pageerror', error => problems.push(error.message));
    page.on('request', request => { if (!request.url().startsWith(origin) && !/^(data|blob):/.test(request.url())) elsewhere.push(request.url()); });
    await page.goto(`${origin}/${place}/`);
    await page.getByText('Ready: wasm').waitFor({ timeout: waitMs });

    // A file, and a sample.
    await page.setInputFiles('#file', { name: 'first.png', mimeType: 'image/png', buffer: Buffer.from(pngs[0]!) });
    const first = await shown(page, 'wasm');
    expect(first.probabilities).toHaveLength(10);
    expect(distance(0, first.probabilities)).toBeLessThan(1e-5);
    await page.getByRole('button', { name: 'Sample 2' }).click();
    expect(distance(2, (await shown(page, 'wasm', first)).probabilities)).toBeLessThan(1e-5);
    const each = (await page.evaluate(times => (globalThis as unknown as { measureMs(count: number): Promise<number[]> }).measureMs(times), 50)).sort((a, b) => a - b);
    process.stdout.write(`wasm, ${name} ${scheme} ${width}x${height}x${channels}: p50 ${each[25]!.toFixed(2)} ms, p95 ${each[47]!.toFixed(2)} ms a prediction at batch 1; ${cpus()[0]?.model ?? 'unknown processor'}, one thread, Chromium ${browser.version()}\n`);

    // The same image on WebGL, and its class names are text.
    await page.getByLabel('Runs on').selectOption('webgl');
    const onWebgl = await shown(page, 'webgl');
    expect(distance(2, onWebgl.probabilities)).toBeLessThan(1e-4);
    expect(await page.locator('#classes b').count()).toBe(0);
    expect(await page.locator('#classes li').count()).toBe(5);

    // What is no image is told, and the next one is taken all the same.
    await page.setInputFiles('#file', { name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('no image') });
    await page.getByText('This file is no image that the browser reads.').waitFor();
    await page.setInputFiles('#file', { name: 'first.png', mimeType: 'image/png', buffer: Buffer.from(pngs[0]!) });
    expect(distance(0, (await shown(page, 'webgl')).probabilities)).toBeLessThan(1e-4);
    const screenshots = process.env['ALUMNUS_SCREENSHOTS'];
    if (screenshots !== undefined) await page.screenshot({ path: join(screenshots, `${place}.png`) });
    expect(problems).toEqual([]);
    expect(elsewhere).toEqual([]);
    await page.close();
  });
});
