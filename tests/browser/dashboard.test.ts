/**
 * The dashboard in a real Chromium: on a real run of real processes what it shows is what the API says; on a leader with ten thousand shards and workers it stays small. With ALUMNUS_SCREENSHOTS=FOLDER
 * it writes the pictures of the README there.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAccess, type Access } from '../../coordinator/access.ts';
import type { Leader } from '../../coordinator/leader.ts';
import { servePage, type PageServer } from '../../coordinator/page/index.ts';
import { openTasks } from '../../coordinator/run/index.ts';
import type { CellState, CurvesAnswer, GalleryAnswer, RunAnswer, RunsAnswer, ShardsAnswer, WorkersAnswer } from '../../proto/page.ts';
import { Cluster } from '../harness/cluster.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';
import { accessOf } from '../unit/coordinator/page/served.ts';
import { Scene } from '../unit/coordinator/scene.ts';
import { answer, makeData, makeRecipe } from '../unit/coordinator/work.ts';
import { chromiumPath, leftOut, openBrowser } from './chromium.ts';

const path = chromiumPath(process.env);
if (path === undefined) process.stderr.write(`left out: the dashboard in a browser: ${leftOut}\n`);
const screenshots = process.env['ALUMNUS_SCREENSHOTS'];
const builtPage = join(dirname(fileURLToPath(import.meta.url)), '../../dist/page');

/** Of a busy machine. */
const waitMs = 120_000;
const SHARDS = 400;
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 860 };

let browser: Browser;
beforeAll(async () => {
  if (path !== undefined) browser = await openBrowser(path);
});
afterAll(() => browser?.close());

/** A page that remembers what went wrong on it: errors, refused scripts and styles, calls to elsewhere. */
class Watched {
  readonly page: Page;
  readonly url: string;
  readonly problems: string[] = [];

  private constructor(page: Page, url: string) {
    this.page = page;
    this.url = url;
  }

  static async open(url: string, hash = '#/', options: BrowserContextOptions = {}): Promise<Watched> {
    const context = await browser.newContext({ viewport: DESK, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(waitMs);
    const watched = new Watched(page, url);
    page.on('pageerror', (error) => watched.problems.push(`error: ${error.message}`));
    page.on('console', (message) => {
      // A question that is refused is an answer; the page tells it.
      if (message.type() === 'error' && !/status of (401|403|404|409|503)/.test(message.text())) watched.problems.push(`console: ${message.text()}`);
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) watched.problems.push(`elsewhere: ${request.url()}`);
    });
    await page.goto(`${url}${hash}`);
    return watched;
  }

  async go(hash: string): Promise<void> {
    await this.page.goto(`${this.url}${hash}`);
  }

  async text(selector: string): Promise<string> {
    return (await this.page.locator(selector).first().innerText()).replace(/\s+/g, ' ').trim();
  }

  rows(list: string): Promise<string[]> {
    return this.page.getByRole('list', { name: list }).getByRole('listitem').evaluateAll((items) => items.map((item) => (item.textContent ?? '').replace(/\s+/g, ' ')));
  }

  /** Pixels that lie beyond the screen's right edge. */
  overflow(): Promise<number> {
    return this.page.evaluate<number>(`document.documentElement.scrollWidth - document.documentElement.clientWidth`);
  }

  elements(): Promise<number> {
    return this.page.evaluate<number>(`document.querySelectorAll('*').length`);
  }

  async picture(name: string): Promise<void> {
    if (screenshots === undefined) return;
    mkdirSync(screenshots, { recursive: true });
    await this.page.screenshot({ path: join(screenshots, `${name}.png`) });
  }

  /** @throws where anything went wrong on it */
  async close(): Promise<void> {
    await this.page.context().close();
    expect(this.problems).toEqual([]);
  }
}

async function until<Value>(what: string, ask: () => Promise<Value>, holds: (value: Value) => boolean): Promise<Value> {
  const untilMs = Date.now() + waitMs;
  let last: Value;
  do {
    last = await ask();
    if (holds(last)) return last;
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (Date.now() < untilMs);
  throw new Error(`not ${what}: ${JSON.stringify(last).slice(0, 2000)}`);
}

const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;
const integer = (value: number): string => value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',');

describe.skipIf(path === undefined)(path === undefined ? `the dashboard on a real run (left out: ${leftOut})` : 'the dashboard on a real run', () => {
  const RUN = 'patterns-1';
  let template: Awaited<ReturnType<typeof patternsHome>>;
  let cluster: Cluster;
  let url: string;
  const api = async <Answer>(question: string): Promise<Answer> => (await (await fetch(`${url}api/v1/${question}`)).json()) as Answer;

  beforeAll(async () => {
    template = await patternsHome(SHARDS);
    cluster = await Cluster.create({ template: template.home });
    await cluster.start(['worker-1', 'worker-2']);
    url = cluster.page;
    await cluster.submit(patternsRecipe({ rounds: 2 }).replace('student: { steps: 80', 'student: { steps: 2500').replace('teacher: { steps: 30', 'teacher: { steps: 60'), RUN);
  });
  afterAll(async () => {
    await cluster?.remove();
    await template?.remove();
  });

  it('lists runs with their states, and opens one', async () => {
    const one = await Watched.open(url);
    await one.page.getByRole('list', { name: /^Runs/ }).getByText(RUN).waitFor();
    const { runs } = await api<RunsAnswer>('runs');
    expect(runs.map(({ runId }) => runId)).toEqual([RUN]);
    const [row = ''] = await one.rows('Runs');
    expect(row).toContain(RUN);
    expect(row).toContain(runs[0]!.state);
    expect(await one.text('.chips')).toContain(`all ${runs.length}`);
    await one.page.getByText(RUN).click();
    await one.page.waitForURL(`**/#/runs/${RUN}`);
    await one.page.getByRole('heading', { name: RUN }).waitFor();
    await one.close();
  });

  it('shows each shard of the stage as the API has it, while they are labeled', async () => {
    const one = await Watched.open(url, `#/runs/${RUN}`);
    // A part is labeled when a person pauses it: what is on the map then stands still.
    await until('a part is labeled', () => api<RunAnswer>(`runs/${RUN}`), ({ summary, stageDone }) => summary.stage === 'label' && stageDone > SHARDS / 4);
    await one.page.locator('.shard-map canvas').waitFor();
    await one.picture('shards');
    await one.page.getByRole('button', { name: 'Pause' }).click();
    const dialog = one.page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'No, leave it' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect((await api<RunAnswer>(`runs/${RUN}`)).summary.state).toBe('running');
    await one.page.getByRole('button', { name: 'Pause' }).click();
    await dialog.getByLabel(/Why/).fill('a look at the map');
    await dialog.getByRole('button', { name: 'Pause the run' }).click();
    await one.page.getByText('a look at the map').first().waitFor();
    expect((await api<RunAnswer>(`runs/${RUN}`)).summary).toMatchObject({ state: 'paused', reason: 'a look at the map' });
    const shards = await until('what is under way is done', () => api<ShardsAnswer>(`runs/${RUN}/shards`), ({ cells }) => Object.values(cells).every(([state]) => state !== 'leased'));
    expect(Object.keys(shards.cells)).toHaveLength(SHARDS);
    await one.page.locator('.shard-map canvas[data-cells="400"]').waitFor();
    const counts = (of: CellState): number => Object.values(shards.cells).filter(([state]) => state === of).length;
    for (const state of ['leased', 'waiting', 'retrying', 'done', 'quarantined'] as const) {
      await until(`${state} as the API says`, () => one.page.locator(`.legend [data-state=${state}]`).getAttribute('data-count'), (count) => count === String(counts(state)));
    }
    expect(counts('done')).toBeGreaterThan(SHARDS / 4);
    expect(counts('waiting')).toBeGreaterThan(0);

    // One cell of them, by pointer: what lies there is told, and it has an address.
    await one.go(`#/runs/${RUN}/shards`);
    const canvas = one.page.locator('.shard-map canvas');
    await canvas.waitFor();
    const [columns, size] = [Number(await canvas.getAttribute('data-columns')), Number(await canvas.getAttribute('data-size'))];
    const names = Object.keys(shards.cells);
    const place = names.findIndex((name) => shards.cells[name]?.[0] === 'waiting');
    await canvas.click({ position: { x: (place % columns) * size + size / 2, y: Math.floor(place / columns) * size + size / 2 } });
    await one.page.waitForURL(`**/#/runs/${RUN}/shards/${names[place]}`);
    await one.page.getByText(`${names[place]}: waiting`).waitFor();
    await one.page.getByRole('link', { name: new RegExp(`^i\\d+\\.label\\.${names[place]}`) }).click();
    await one.page.waitForURL('**/tasks/**');
    await one.page.getByText('the run is paused: a look at the map').waitFor();

    await one.go(`#/runs/${RUN}`);
    await one.page.getByRole('button', { name: 'Resume' }).click();
    await dialog.getByRole('button', { name: 'Resume the run' }).click();
    await until('it goes on', () => api<RunAnswer>(`runs/${RUN}`), ({ summary }) => summary.state === 'running');
    await one.page.locator('.run-head .state-running').waitFor();
    await one.close();
  });

  it('shows the loss of a training as it goes', async () => {
    const one = await Watched.open(url, `#/runs/${RUN}/training`, { colorScheme: 'dark' });
    const { curves } = await until('a student trains', () => api<CurvesAnswer>(`runs/${RUN}/curves`), ({ curves: known }) => known.some(({ training, steps }) => training === 'student' && steps.length >= 5));
    const { iteration } = curves.find(({ training, steps }) => training === 'student' && steps.length >= 5)!;
    const panel = one.page.locator('.panel', { hasText: `Loss of student, iteration ${iteration}` });
    await panel.waitFor();
    await until('its curve is drawn', async () => ((await panel.locator('polyline').first().getAttribute('points')) ?? '').split(' ').length, (points) => points >= 5);
    await one.go(`#/runs/${RUN}`);
    await panel.waitFor();
    await one.picture('run-training-dark');
    await one.close();
  });

  it('shows each iteration as the API has it, when the run has succeeded', async () => {
    await cluster.settled(RUN, 'succeeded');
    const view = await api<RunAnswer>(`runs/${RUN}`);
    const one = await Watched.open(url, `#/runs/${RUN}`);
    await one.page.locator('.run-head .state-succeeded').waitFor();
    const rounds = one.page.getByRole('list', { name: 'Rounds' }).getByRole('listitem');
    await until('all rounds', () => rounds.count(), (count) => count === view.iterations.length);
    for (const [at, each] of view.iterations.entries()) {
      const text = (await rounds.nth(at).innerText()).replace(/\s+/g, ' ');
      const { correct, total } = each.model!.validation!;
      expect(text).toContain(percent(correct / total));
      expect(text).toContain(each.decision);
      // Of the chart the same, as the mark's title.
      const titles = await one.page.locator('.chart title').allTextContents();
      expect(titles.filter((title) => title.startsWith(`Iteration ${each.iteration}, validation: ${percent(correct / total)}, ${correct} of ${total}`))).toHaveLength(1);
      const teacher = view.iterations.find(({ model }) => model?.model?.sha256 === each.teacherSha256);
      if (teacher !== undefined) expect(titles.join('\n')).toContain(`Teacher of iteration ${each.iteration}: ${percent(teacher.model!.validation!.correct / teacher.model!.validation!.total)}`);
    }
    for (const warning of view.warnings) await one.page.getByText(warning).first().waitFor();
    await one.picture('run-light');
    await one.close();
  });

  it('shows an iteration\'s labels: by class before and after selection, by confidence, and as pictures', async () => {
    const view = await api<RunAnswer>(`runs/${RUN}`);
    const one = await Watched.open(url, `#/runs/${RUN}/iterations/1`, { viewport: { width: 1280, height: 1000 } });
    await one.page.getByRole('list', { name: /^Classes/ }).waitFor();
    const rows = await one.rows('Classes');
    const { selection, threshold } = view.iterations[1]!;
    expect(rows).toHaveLength(view.data!.classNames.length);
    for (const { class: at, labeled, eligible, kept, rows: after } of selection!.classes) expect(rows[at]).toBe(`${view.data!.classNames[at]}${[labeled, eligible, kept, after].map(integer).join('')}`);
    // Bars add up to the labels, and the threshold is drawn.
    const titles = await one.page.locator('.panel', { hasText: 'Pseudo-labels by confidence' }).locator('title').allTextContents();
    expect(titles.reduce((sum, title) => sum + Number(/^(\d+) labels/.exec(title)?.[1] ?? 0), 0)).toBe(selection!.labeled);
    await one.page.locator('.threshold', { hasText: `threshold ${(100 * threshold!.confidence).toFixed(1)} %` }).waitFor();
    const gallery = await api<GalleryAnswer>(`runs/${RUN}/iterations/1/gallery`);
    const images = one.page.locator('.gallery img');
    await until('all pictures', () => images.count(), (count) => count === gallery.confident.length + gallery.near.length + gallery.thrownOut.length);
    expect(gallery.confident.length).toBeGreaterThan(0);
    expect(gallery.thrownOut.every(({ copies }) => copies === 0)).toBe(true);
    expect(await images.evaluateAll((all) => all.every((image) => (image as unknown as { naturalWidth: number }).naturalWidth === 12))).toBe(true);
    await one.page.locator('.gallery').first().scrollIntoViewIfNeeded();
    await one.picture('labels');
    await one.close();
  });

  it('shows the workers that are there', async () => {
    const one = await Watched.open(url, '#/workers');
    const { workers, counts } = await api<WorkersAnswer>('workers');
    expect(workers.map(({ workerId }) => workerId)).toEqual(['worker-1', 'worker-2']);
    await until('both rows', () => one.rows('Workers'), (rows) => rows.length === 2 && rows.every((row, at) => row.includes(workers[at]!.workerId) && row.includes(workers[at]!.device)));
    await until('their number', () => one.text('.chips'), (text) => text.includes(`all ${counts.busy + counts.idle + counts.lost}`));
    await one.page.getByText('worker-2').click();
    await one.page.waitForURL('**/#/workers/worker-2');
    await one.page.getByRole('heading', { name: 'worker-2' }).waitFor();
    await one.close();
  });

  it('cancels a run only when it was asked twice', async () => {
    await cluster.submit(patternsRecipe({ rounds: 1 }).replace('teacher: { steps: 30', 'teacher: { steps: 20000'), 'unwanted');
    const one = await Watched.open(url, '#/runs/unwanted');
    await one.page.getByRole('button', { name: 'Cancel' }).click();
    await one.page.keyboard.press('Escape');
    await one.page.getByRole('dialog').waitFor({ state: 'detached' });
    expect((await api<RunAnswer>('runs/unwanted')).summary.state).toBe('running');
    await one.page.getByRole('button', { name: 'Cancel' }).click();
    await one.page.getByLabel(/Why/).fill('nobody needs it');
    await one.page.getByRole('button', { name: 'Cancel the run' }).click();
    await one.page.locator('.run-head .state-cancelled').waitFor();
    expect((await api<RunAnswer>('runs/unwanted')).summary).toMatchObject({ state: 'cancelled', reason: 'nobody needs it', commands: ['retry'] });
    // What was cancelled can be taken up again, and nothing else.
    await until('one button is left', () => one.page.locator('.steer button').allTextContents(), (names) => names.join() === 'Retry');
    await one.close();
  });

  it('is gone through by keys', async () => {
    const one = await Watched.open(url);
    await until('both runs', () => one.rows('Runs'), (rows) => rows.length === 2);
    const focused = (): Promise<string> => one.page.evaluate(`document.activeElement?.textContent ?? ''`);
    await one.page.keyboard.press('/');
    await one.page.keyboard.type(RUN);
    await until('one is left', () => one.rows('Runs'), (rows) => rows.length === 1);
    await one.page.keyboard.press('Escape');
    await one.page.keyboard.press('j');
    expect(await focused()).toContain(RUN);
    await one.page.keyboard.press('Enter');
    await one.page.waitForURL(`**/#/runs/${RUN}`);
    await one.page.keyboard.press('?');
    await one.page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await one.page.keyboard.press('Escape');
    await one.page.getByRole('dialog').waitFor({ state: 'detached' });
    await one.page.keyboard.press('g');
    await one.page.keyboard.press('w');
    await one.page.waitForURL('**/#/workers');
    await one.page.keyboard.press('g');
    await one.page.keyboard.press('r');
    await until('both runs', () => one.rows('Runs'), (rows) => rows.length === 2);
    const [above = '', below = ''] = await one.rows('Runs');
    const has = (name: string) => (text: string): boolean => text.includes(name);
    await one.page.keyboard.press('j');
    await until('the first row', focused, has(above));
    await one.page.keyboard.press('j');
    await until('the second row', focused, has(below));
    await one.page.keyboard.press('k');
    await until('the first row again', focused, has(above));
    await one.close();
  });

  it('fits a phone, in light and dark, each view', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const one = await Watched.open(url, '#/', { viewport: PHONE, colorScheme, hasTouch: true });
      for (const hash of ['#/', `#/runs/${RUN}`, `#/runs/${RUN}/shards`, `#/runs/${RUN}/training`, `#/runs/${RUN}/tasks`, `#/runs/${RUN}/events`, `#/runs/${RUN}/iterations/1`, '#/workers', '#/workers/worker-1', '#/runs/nothing']) {
        await one.go(hash);
        await one.page.locator('main').waitFor();
        if (hash.endsWith('iterations/1')) await one.page.locator('.gallery img').first().waitFor();
        else await one.page.waitForTimeout(300);
        expect([hash, await one.overflow()]).toEqual([hash, 0]);
      }
      if (colorScheme === 'light') {
        await one.go(`#/runs/${RUN}`);
        await one.page.getByRole('list', { name: 'Rounds' }).waitFor();
        await one.picture('phone');
      }
      await one.close();
    }
  });

  it('is light or dark as the system, and as was chosen', async () => {
    const one = await Watched.open(url, `#/runs/${RUN}`, { colorScheme: 'dark' });
    const paper = (): Promise<string> => one.page.evaluate(`getComputedStyle(document.body).backgroundColor`);
    const brightness = async (): Promise<number> => (/\d+/.exec(await paper()) ?? ['']).map(Number)[0] ?? NaN;
    expect(await brightness()).toBeLessThan(60);
    await one.page.keyboard.press('t');
    expect(await brightness()).toBeGreaterThan(200);
    await one.page.reload();
    expect(await brightness()).toBeGreaterThan(200);
    await one.page.keyboard.press('t');
    expect(await brightness()).toBeLessThan(60);
    await one.close();
  });

  it('says so where there is nothing', async () => {
    const one = await Watched.open(url, '#/runs/nothing');
    await one.page.getByText('there is no such run').waitFor();
    await one.go('#/what/is/this');
    await one.page.getByText('There is nothing at this address').waitFor();
    await one.close();
  });
});

describe.skipIf(path === undefined)(path === undefined ? `the dashboard of a large fleet (left out: ${leftOut})` : 'the dashboard of a large fleet', () => {
  const MANY = 10_000;
  const RUN = 'large-1';
  let leader: Leader;
  let scene: Scene;
  const servers: PageServer[] = [];

  async function serveIt(access: Access = openAccess, listen = '127.0.0.1:0'): Promise<string> {
    const server = await servePage({ leading: { leader: () => leader, leaderAddress: '', trouble: '', journal: leader.journal }, storeUrl: 'file:///store', version: '0', access, listen, folder: builtPage });
    servers.push(server);
    return server.url;
  }

  beforeAll(async () => {
    scene = new Scene();
    scene.nowMs = Date.now();
    leader = await scene.lead(10_000_000);
    await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ control: false }), data: makeData({ shards: MANY }) });
    for (let step = 0; step < 2; step += 1) {
      const [task] = openTasks(leader.run(RUN));
      if (task === undefined) throw new Error('a task is open');
      await leader.command(RUN, { kind: 'complete', task, workerId: 'w', result: answer(task) });
    }
    scene.register(leader, 1, ...Array.from({ length: MANY }, (_, at) => `worker-${String(at).padStart(5, '0')}`));
    for (let at = 0; at < 500; at += 1) leader.grant(`worker-${String(at).padStart(5, '0')}`, 1, []);
  });
  afterAll(async () => {
    for (const server of servers) await server.close();
  });

  it('keeps few elements of ten thousand workers, wherever one is in the list', async () => {
    const url = await serveIt();
    const one = await Watched.open(url, '#/workers');
    await until('the first', () => one.rows('Workers'), (rows) => rows[0]?.includes('worker-00000') === true);
    await until('their number', () => one.text('.chips'), (text) => text.includes(`all ${integer(MANY)}`));
    expect(await one.elements()).toBeLessThan(1_500);
    const scroller = one.page.getByRole('list', { name: `Workers, ${MANY}` });
    for (const share of [0.25, 0.5, 0.9]) {
      await scroller.evaluate((element, to) => void ((element as unknown as { scrollTop: number }).scrollTop = (element as unknown as { scrollHeight: number }).scrollHeight * to), share);
      await until('rows there', () => one.rows('Workers'), (rows) => rows.length > 5 && rows.every((row) => row.includes('worker-')));
      expect(await one.elements()).toBeLessThan(1_500);
    }
    await scroller.evaluate((element) => void ((element as unknown as { scrollTop: number }).scrollTop = 1e9));
    await until('the last', () => one.rows('Workers'), (rows) => rows.at(-1)?.includes('worker-09999') === true);
    await one.page.keyboard.press('/');
    await one.page.keyboard.type('worker-04321');
    await until('the one', () => one.rows('Workers'), (rows) => rows.length === 1 && rows[0]?.includes('worker-04321') === true);
    await one.close();
  });

  it('draws ten thousand shards as one picture, and tells of each', async () => {
    const url = await serveIt();
    const one = await Watched.open(url, `#/runs/${RUN}`);
    const canvas = one.page.locator(`.shard-map canvas[data-cells="${MANY}"]`);
    await canvas.waitFor();
    expect(await one.elements()).toBeLessThan(1_500);
    const counts = await canvas.getAttribute('aria-label');
    expect(counts).toBe('10,000 shards: 500 at work, 9,500 waiting');
    // Shards are done, and the map says so without being asked.
    for (const task of openTasks(leader.run(RUN)).slice(0, 40)) await leader.command(RUN, { kind: 'complete', task, workerId: 'w', result: answer(task) });
    await until('40 are done', () => one.page.locator('.legend [data-state=done]').getAttribute('data-count'), (count) => count === '40');
    await canvas.focus();
    await one.page.keyboard.press('ArrowRight');
    await one.page.keyboard.press('ArrowRight');
    await one.page.getByText('shard-00001: done').waitFor();
    await one.close();
  });

  it('asks for a token where one is needed, and gives a viewer nothing to press', async () => {
    const url = await serveIt(accessOf({ secret: { 'default': 'viewer', '*': 'viewer' }, boss: { 'default': 'operator', '*': 'operator' } }));
    const one = await Watched.open(url, `#/runs/${RUN}`);
    await one.page.getByLabel('Token').fill('forged');
    await one.page.getByRole('button', { name: 'Go on' }).click();
    await one.page.getByText('The last one is nobody').waitFor();
    await one.page.getByLabel('Token').fill('secret');
    await one.page.getByRole('button', { name: 'Go on' }).click();
    await one.page.getByRole('heading', { name: RUN }).waitFor();
    await one.page.locator('.shard-map canvas').waitFor();
    expect(await one.page.locator('.steer button').count()).toBe(0);
    // Nor would the coordinator take it.
    const refused = await one.page.evaluate(`fetch('api/v1/runs/${RUN}/pause', { method: 'POST', headers: { authorization: 'Bearer secret', 'content-type': 'application/json' }, body: '{}' }).then((response) => response.status)`);
    expect(refused).toBe(403);
    expect(leader.run(RUN).phase).toBe('running');
    await one.page.reload();
    await one.page.getByRole('heading', { name: RUN }).waitFor();
    await one.page.evaluate(`sessionStorage.setItem('alumnus-token', 'boss')`);
    await one.page.reload();
    await one.page.getByRole('button', { name: 'Pause' }).waitFor();
    await one.close();
  });

  it('says when the coordinator is gone, and goes on when it is there again', async () => {
    const url = await serveIt();
    const one = await Watched.open(url, `#/runs/${RUN}`);
    await one.page.getByRole('status').getByText('live').waitFor();
    await servers.pop()?.close();
    await one.page.getByText('not connected').waitFor();
    await serveIt(openAccess, new URL(url).host);
    await one.page.getByRole('status').getByText('live').waitFor();
    // What the browser itself says of a connection that is refused is no defect of the page.
    one.problems.splice(0, one.problems.length, ...one.problems.filter((problem) => !/ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE)/.test(problem)));
    await one.close();
  });
});
