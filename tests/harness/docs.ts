/**
 * The documentation as its readers see it: pages, their blocks of shell, and the commands in them. A block of shell is run by
 * tests/integration/docs.test.ts, in order within its page, unless a comment before it says why not: `<!-- not run: it needs three machines -->`;
 * a page may say so once of all its blocks (`<!-- no block is run: … -->`). Bash itself takes commands apart. Not for: running blocks for real.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '../..');

export interface Block {
  readonly page: string;
  /** Of its first line of text, from 1. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
  /** Why it is not run. */
  readonly reason?: string;
}

/** README.md and what lies below docs/, by path. */
export const pages = (): string[] =>
  ['README.md', ...readdirSync(join(root, 'docs'), { recursive: true }).map(String).filter((path) => path.endsWith('.md')).map((path) => join('docs', path)).sort()];

export const textOf = (page: string): string => readFileSync(join(root, page), 'utf8');

export function blocksOf(page: string): Block[] {
  const lines = textOf(page).split('\n');
  const whole = lines.map((line) => /^<!-- no block is run: (.+) -->$/.exec(line)?.[1]).find((reason) => reason !== undefined);
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const opened = /^```(\w*)$/.exec(lines[at] ?? '');
    if (opened === null) continue;
    const end = lines.indexOf('```', at + 1);
    if (end < 0) throw new Error(`${page}:${at + 1}: the block is not closed`);
    const reason = /^<!-- not run: (.+) -->$/.exec(lines[at - 1] ?? '')?.[1] ?? whole;
    blocks.push({ page, line: at + 2, language: opened[1] ?? '', text: lines.slice(at + 1, end).join('\n'), ...(reason === undefined ? {} : { reason }) });
    at = end;
  }
  return blocks;
}

export const shellBlocks = (page: string): Block[] => blocksOf(page).filter(({ language }) => language === 'sh');

/** Commands within sentences: `alumnus run list`. Those with an ellipsis, or with what they take in brackets, are no whole commands. */
export const spokenCommands = (page: string): string[] =>
  [...textOf(page).replace(/^```[^]*?^```$/gm, '').matchAll(/`((?:bin\/)?alumnus [^`\n]+)`/g)].map(([, command = '']) => command.replaceAll('\\|', '|')).filter((command) => !/[…<[]/.test(command));

const COMMAND = /(?:^|&&|\|\||\||;|\$\(|\()\s*(?:[A-Z_0-9]+=\S*\s+)*(?:bin\/)?alumnus\s/g;
/** How many commands of ours a reader counts in a shell text: what bash came to must be as many. */
export const commandsSeen = (text: string): number => text.split('\n').filter((line) => !/^\s*#/.test(line)).reduce((sum, line) => sum + [...line.matchAll(COMMAND)].length, 0);

/**
 * What `alumnus` is called with by these shell texts, run one after another in one folder where it does nothing but tell, and other programs are not there.
 * @returns for each text its calls
 */
export function callsOf(texts: readonly string[]): string[][][] {
  const folder = mkdtempSync(join(tmpdir(), 'alumnus-docs-'));
  try {
    mkdirSync(join(folder, 'bin'));
    const record = join(folder, 'calls');
    writeFileSync(join(folder, 'bin/alumnus'), `#!/bin/sh\n{ printf '%s\\037' "$@"; printf '\\036'; } >> '${record}'\n`);
    chmodSync(join(folder, 'bin/alumnus'), 0o755);
    for (const program of ['cat', 'mkdir']) symlinkSync(`/bin/${program}`, join(folder, 'bin', program));
    return texts.map((text) => {
      writeFileSync(record, '');
      execFileSync('/bin/bash', ['-c', `command_not_found_handle() { :; }\n${text}`], { cwd: folder, env: { PATH: join(folder, 'bin'), HOME: folder }, stdio: ['ignore', 'ignore', 'pipe'] });
      return readFileSync(record, 'utf8').split('\x1e').slice(0, -1).map((call) => call.split('\x1f').slice(0, -1));
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
