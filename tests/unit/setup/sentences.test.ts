/** What set-up says when this machine lacks something: a plain sentence, what to do next, exit code 8, nothing left behind. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkout, runCommand, type Outcome } from './checkout.ts';

const compiler = 'exit 0';
/** A Python that answers the questions about itself, and does `download` when pip is asked for the wheel. */
const python = (download: string): string => `case "$*" in *"pip download"*) ${download};; *) exit 0;; esac`;

function expectSentence(outcome: Outcome, sentence: RegExp): void {
  expect(outcome.stderr).toMatch(sentence);
  expect(outcome.stderr).not.toMatch(/\n {4}at /);
  expect(outcome.stdout).toBe('');
  expect(outcome.code).toBe(8);
  expect(fs.existsSync(path.join(outcome.cache, 'tmp'))).toBe(false);
}

describe('set-up on a machine that lacks something', () => {
  it('names the missing C++ compiler before any download', async () => {
    expectSentence(await runCommand(checkout(), ['setup']), /^alumnus: There is no C\+\+ compiler on this machine\. Install g\+\+ .* or set CXX/m);
  });

  it('names the compiler that CXX asks for', async () => {
    expectSentence(await runCommand(checkout(), ['setup'], { 'g++': compiler }, { CXX: 'no-such-compiler' }), /C\+\+ compiler that CXX names \(no-such-compiler\) does not run\. Set CXX/);
  });

  it('names the missing Python', async () => {
    expectSentence(await runCommand(checkout(), ['setup'], { 'g++': compiler }), /There is no Python 3 on this machine .*Install Python 3 with pip/);
  });

  it('names a Python without pip', async () => {
    const tools = { 'g++': compiler, 'python3': 'test "$1" != -m' };
    expectSentence(await runCommand(checkout(), ['setup'], tools), /The Python on this machine \(python3\) has no pip\. Install Python 3 with pip/);
  });

  it('says that the package index cannot be reached, and shows what pip said', async () => {
    const tools = { 'g++': compiler, 'python3': python('echo "ERROR: Failed to establish a new connection" >&2; exit 1') };
    const outcome = await runCommand(checkout(), ['setup'], tools);
    expectSentence(outcome, /pip cannot reach its package index\. Check the network/);
    expect(outcome.stderr).toContain('ERROR: Failed to establish a new connection');
  });

  it('says that the disk is full', async () => {
    const tools = { 'g++': compiler, 'python3': python('echo "OSError: [Errno 28] No space left on device" >&2; exit 1') };
    expectSentence(await runCommand(checkout(), ['setup'], tools), /The disk that holds .* is full \(\d+ MB are needed\)\. Free some space, or set ALUMNUS_CACHE/);
  });

  it('refuses a wheel with another digest, and does not keep it', async () => {
    const tools = { 'g++': compiler, 'python3': python('while [ "$1" != --dest ]; do shift; done; echo damaged > "$2/tensorflow_cpu.whl"') };
    const outcome = await runCommand(checkout(), ['setup'], tools);
    expectSentence(outcome, /The downloaded tensorflow_cpu\.whl is not the file that Alumnus knows \(sha256 [0-9a-f]{64}, expected [0-9a-f]{64}\)/);
    expect(fs.readdirSync(outcome.cache).filter((name) => name.startsWith('tensorflow'))).toEqual([]);
  });

  it('names the missing npm', async () => {
    expectSentence(await runCommand(checkout({ withPackages: false }), ['setup']), /There is no npm on this machine/);
  });

  it('says that npm cannot reach its registry', async () => {
    const tools = { npm: 'echo "npm error code ENOTFOUND" >&2; exit 1' };
    expectSentence(await runCommand(checkout({ withPackages: false }), ['setup'], tools), /npm cannot reach its registry\. Check the network/);
  });

  it('says that package.json and its lock disagree', async () => {
    const tools = { npm: 'echo "npm error code EUSAGE" >&2; echo "npm error Missing: left-pad@1.0.0 from lock file" >&2; exit 1' };
    const outcome = await runCommand(checkout({ withPackages: false }), ['setup'], tools);
    expectSentence(outcome, /package\.json and package-lock\.json disagree\. Run `npm install` once/);
    expect(outcome.stderr).toContain('Missing: left-pad@1.0.0');
  });

  it('says that the cache cannot be made', async () => {
    const folder = checkout();
    const file = path.join(folder, 'package.json');
    const outcome = await runCommand(folder, ['setup'], {}, { ALUMNUS_CACHE: path.join(file, 'cache') });
    expect(outcome.stderr).toMatch(/^alumnus: .*package\.json\/cache cannot be a folder\. Set ALUMNUS_CACHE to a directory that you can write/m);
    expect(outcome.code).toBe(8);
  });
});

describe('a command that is asked for wrongly', () => {
  it('lists the commands', async () => {
    const outcome = await runCommand(checkout(), ['tset']);
    expect(outcome.stderr).toMatch(/^alumnus: there is no command tset\. Known are: setup, /);
    expect(outcome.code).toBe(2);
  });

  it.each([['--seeds', '0'], ['--seeds', 'many'], ['--start', '-1'], ['--sedes', '5']])('refuses %s %s for the simulation', async (option, value) => {
    const outcome = await runCommand(checkout(), ['test:simulation', `${option}=${value}`]);
    expect(outcome.stderr).toMatch(/^alumnus: /);
    expect(outcome.code).toBe(2);
  });

  it('names the benchmarks that there are', async () => {
    const outcome = await runCommand(checkout(), ['bench', 'no-such']);
    expect(outcome.stderr).toMatch(/^alumnus: There is no bench\/no-such\.ts\./);
    expect(outcome.code).toBe(2);
  });
});
