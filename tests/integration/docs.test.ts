/**
 * What the documentation has people type, typed: the blocks of shell of each page below, in order, in a folder of their own that looks like a
 * checkout, with a home and a coordinator's address of their own. A coordinator or worker is started as the page has it and ended with the page.
 * Fewer pictures and steps than people have, so that it takes a minute or two a page. Needs dist/.
 * A block that is neither on one of these pages nor says why it isn't run fails the first test.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { blocksOf, pages, root, shellBlocks, type Block } from '../harness/docs.ts';
import { commandLine } from '../harness/command.ts';
import { pause } from '../harness/processes.ts';

const PAGE_MS = 10 * 60_000;
const READY_MS = 60_000;
const STOP_MS = 20_000;

/** Pages whose blocks are run, and what they find in their folder beside the checkout's. */
const ran: Readonly<Record<string, { readonly before?: string }>> = {
  'README.md': { before: 'node docs/tutorial/pictures.mjs . 150 200' },
  'docs/recipe.md': {},
  'docs/access.md': {},
  'docs/tutorial.md': {},
  'docs/operating.md': { before: 'node docs/tutorial/pictures.mjs fruit 150 200' },
};

/** What is done in small here. Each is found in its page, or the test would take as long as people do. */
const shorter: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  'docs/tutorial.md': [['pictures.mjs fruit\n', 'pictures.mjs fruit 150 200\n'], ['--validation 150 --test-images 250', '--validation 100 --test-images 100']],
};

const STAYS = /^(?:\S*\/)?alumnus (?:coordinator|worker)\b(?! (?:list|describe|cordon|drain|uncordon))/m;
/** What a coordinator, and a worker, say once they can be used. */
const READY = /"ready":true|registered with term/;

const cleanUps: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp();
});

const freePort = (): Promise<number> => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address() as { port: number };
    server.close(() => resolve(port));
  });
});

/** A reader's place: a folder like a checkout, and the terminals that they have open. */
class Reader {
  readonly folder = mkdtempSync(join(tmpdir(), 'alumnus-reader-'));
  readonly #env: NodeJS.ProcessEnv;
  readonly #terminals: { readonly child: ChildProcess; said: string }[] = [];

  /** @param port where the coordinator listens instead of at 7700; it serves no page, whose port may be taken */
  constructor(port: number) {
    for (const each of ['docs', 'node_modules', 'recipe']) symlinkSync(join(root, each), join(this.folder, each));
    cpSync(join(root, 'package.json'), join(this.folder, 'package.json'));
    mkdirSync(join(this.folder, 'bin'));
    writeFileSync(join(this.folder, 'bin/alumnus'), `#!/bin/sh\nif [ "$1" = coordinator ]; then set -- "$@" --listen 127.0.0.1:${port} --no-page; fi\nexec '${process.execPath}' '${commandLine}' "$@"\n`);
    chmodSync(join(this.folder, 'bin/alumnus'), 0o755);
    const { ALUMNUS_STORE: _store, ALUMNUS_JOURNAL: _journal, ALUMNUS_TOKEN: _token, ...env } = process.env;
    this.#env = { ...env, PATH: `${join(this.folder, 'bin')}:${process.env['PATH']}`, HOME: this.folder, XDG_CONFIG_HOME: join(this.folder, 'config'), ALUMNUS_HOME: join(this.folder, 'home'), ALUMNUS_ADDRESS: `127.0.0.1:${port}` };
  }

  #start(text: string): { readonly child: ChildProcess; said: string } {
    const child = spawn('/bin/bash', ['-eu', '-o', 'pipefail', '-c', text], { cwd: this.folder, env: this.#env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const terminal = { child, said: '' };
    for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (more: string) => { terminal.said += more; });
    return terminal;
  }

  /** @returns what it said */
  async type({ page, line, text }: Block): Promise<string> {
    const terminal = this.#start(text);
    const ended = new Promise<number | null>((resolve) => terminal.child.once('close', resolve));
    this.#terminals.push(terminal);
    const where = `${page}:${line}`;
    if (!STAYS.test(text)) {
      const code = await ended;
      expect(code, `${where}\n${text}\n${terminal.said}\n${this.#terminals.map(({ said }) => said).join('\n---\n')}`).toBe(0);
      this.#shorten();
      return terminal.said;
    }
    const untilMs = Date.now() + READY_MS;
    while (!READY.test(terminal.said)) {
      if (terminal.child.exitCode !== null || Date.now() > untilMs) expect.fail(`${where}: not ready: ${terminal.said}`);
      await pause(100);
    }
    return terminal.said;
  }

  /** A recipe that a page begins: a tenth of its steps would still take minutes. */
  #shorten(): void {
    for (const name of readdirSync(this.folder).filter((each) => each.endsWith('.yaml'))) {
      const text = readFileSync(join(this.folder, name), 'utf8');
      if (text.includes('kind: Recipe')) writeFileSync(join(this.folder, name), text.replace('teacher: { steps: 400', 'teacher: { steps: 150').replace('student: { steps: 600', 'student: { steps: 30'));
    }
  }

  async close(): Promise<void> {
    for (const { child } of [...this.#terminals].reverse()) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue;
      const ended = new Promise((resolve) => child.once('close', resolve));
      // Its own group alone: bash and what the page started in it.
      process.kill(-child.pid, 'SIGTERM');
      if (await Promise.race([ended.then(() => true), pause(STOP_MS).then(() => false)])) continue;
      process.kill(-child.pid, 'SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const shortened = (block: Block): Block => ({ ...block, text: (shorter[block.page] ?? []).reduce((text, [from, to]) => `${text}\n`.replace(from, to).trimEnd(), block.text) });

test('every block of shell is run here, or says why not', () => {
  const blocks = pages().flatMap(shellBlocks);
  const unmarked = blocks.filter(({ reason }) => reason === undefined);
  expect(unmarked.filter(({ page }) => ran[page] === undefined).map(({ page, line }) => `${page}:${line}: say why it is not run (tests/harness/docs.ts), or add its page to docs.test.ts`)).toEqual([]);
  for (const page of Object.keys(ran)) expect(unmarked.filter((each) => each.page === page).length, page).toBeGreaterThan(0);
  for (const [page, each] of Object.entries(shorter)) for (const [from] of each) expect(unmarked.filter((block) => block.page === page && `${block.text}\n`.includes(from)), `${page}: ${from}`).toHaveLength(1);
  for (const { page, line, reason = '' } of blocks.filter((each) => each.reason !== undefined)) expect(reason.split(' ').length, `${page}:${line}: a reason is a sentence`).toBeGreaterThan(2);
});

const TABLE_HEAD = /^[A-Z][A-Z/ ]*(?: {2,}[A-Z][A-Z/ ]*)+$/;
const squeezed = (text: string): string => text.replace(/ +/g, ' ').trim();

describe.each(Object.entries(ran))('%s', (page, { before }) => {
  test('does as it says', async () => {
    const reader = new Reader(await freePort());
    cleanUps.push(() => reader.close());
    if (before !== undefined) await reader.type({ page, line: 0, language: 'sh', text: before });
    let said = '';
    for (const block of blocksOf(page)) {
      if (block.reason !== undefined) continue;
      if (block.language === 'sh') said = await reader.type(shortened(block));
      // What is shown below a block has the columns that it really prints.
      if (block.language === 'text') for (const head of block.text.split('\n').filter((line) => TABLE_HEAD.test(line))) expect(said.split('\n').map(squeezed), `${page}:${block.line}`).toContain(squeezed(head));
    }
    await reader.close();
    cleanUps.pop();
  }, PAGE_MS);
});
