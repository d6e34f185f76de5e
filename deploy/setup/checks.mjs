/**
 * `npm test` and its longer relatives: each check is named, timed, and the first that fails stops with its exit code.
 * The last line printed is always `N passed, N failed` (and `, N skipped`): tests, or the one check that failed before them.
 * A run in which no test ran proves nothing and has failed.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { exitCode, SetupError } from './errors.mjs';
import { run } from './process.mjs';

/** The folders of tests that `npm test` runs; tests/chaos has its own command. */
export const everydayProjects = ['unit', 'property', 'scenarios', 'simulation', 'integration'];
const checkedFolders = ['cli', 'coordinator', 'dashboard', 'dataset', 'proto', 'recipe', 'store', 'telemetry', 'worker'];

/**
 * @param {{ numPassedTests: number, numFailedTests: number, numPendingTests: number, numTodoTests: number, testResults: { status: string, assertionResults: unknown[] }[] }} report vitest's JSON
 */
export function summarize(report) {
  // A file that does not even load has no tests to count, and is a failure all the same.
  const unloaded = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
  const skipped = report.numPendingTests + report.numTodoTests;
  return { passed: report.numPassedTests, failed: report.numFailedTests + unloaded, skipped };
}

/**
 * @param {{ passed: number, failed: number, skipped: number }} counts of vitest, which ended with `code`
 * @returns {{ counts: { passed: number, failed: number, skipped: number }, code: number, ran: boolean }} `ran`: any test did
 */
export function verdict(counts, code) {
  const ran = counts.passed + counts.failed > 0;
  const bad = code !== 0 || counts.failed > 0 || !ran;
  return { counts: { ...counts, failed: bad ? Math.max(1, counts.failed) : 0 }, code: bad ? code || exitCode.failed : 0, ran };
}

export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

async function check(root, name, command, args, env) {
  process.stderr.write(`\n── ${name}\n`);
  const startMs = performance.now();
  // Colors are for a terminal, not for a log (tools turn them on when they see CI).
  const plain = process.stdout.isTTY ? {} : { NO_COLOR: '1', FORCE_COLOR: undefined };
  const { code } = await run(command, args, { cwd: root, env: { ...(env ?? process.env), ...plain }, inherit: true });
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  process.stderr.write(`── ${name}: ${code === 0 ? 'passed' : 'failed'} in ${seconds} s\n`);
  return code;
}

const tool = (root, file) => path.join(root, 'node_modules', file);

/** By name: Node's arguments of each check that needs no test run. */
function staticCheckArguments(root, name) {
  switch (name) {
    case 'types':
      return [tool(root, 'typescript/bin/tsc'), '--project', 'tsconfig.json', '--noEmit'];
    case 'types of the page':
      return [tool(root, 'typescript/bin/tsc'), '--project', 'dashboard/tsconfig.json', '--noEmit'];
    case 'lint':
      return [tool(root, 'eslint/bin/eslint.js'), '.', '--max-warnings', '0'];
    case 'import directions':
      return [
        tool(root, 'dependency-cruiser/bin/dependency-cruise.mjs'), '--config', '.dependency-cruiser.cjs', '--output-type', 'err',
        ...checkedFolders.filter((folder) => fs.existsSync(path.join(root, folder))),
      ];
    case 'wire style':
      return [tool(root, '@bufbuild/buf/bin/buf'), 'lint'];
    case 'wire compatibility':
      // With the last release, whose journals and workers are out there: docs/api.md.
      return [tool(root, '@bufbuild/buf/bin/buf'), 'breaking', '--against', 'proto/released.binpb'];
    default:
      throw new Error(`no check is named ${name}`);
  }
}

/**
 * @param {('types' | 'lint' | 'import directions' | 'wire style' | 'wire compatibility')[]} names
 * @returns {Promise<number>} the exit code of the first that failed, or 0
 */
export async function staticChecks(root, names) {
  for (const name of names) {
    const code = await check(root, name, process.execPath, staticCheckArguments(root, name));
    if (code !== 0) return code;
  }
  return 0;
}

/**
 * @param {{ projects: string[], args: string[], env?: NodeJS.ProcessEnv, name: string, within?: string[] }} options
 *   `within`: a program and its arguments that start what follows them, in a network of its own say
 * @returns {Promise<number>} exit code
 */
export async function tests(root, { projects, args, env = {}, name, within = [] }) {
  const present = projects.filter((project) => fs.existsSync(path.join(root, 'tests', project)));
  if (present.length === 0) throw new SetupError(`There are no tests in ${projects.map((project) => `tests/${project}`).join(', ')}.`, 'Write some, or run another command.', { exit: exitCode.failed });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'alumnus-tests-'));
  try {
    const file = path.join(folder, 'report.json');
    const [command, ...before] = [...within, process.execPath];
    const code = await check(root, name, command, [
      ...before, tool(root, 'vitest/vitest.mjs'), 'run', ...present.flatMap((project) => ['--project', project]),
      '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...args,
    ], { ...process.env, ...env });
    const outcome = verdict(fs.existsSync(file) ? summarize(JSON.parse(fs.readFileSync(file, 'utf8'))) : { passed: 0, failed: 0, skipped: 0 }, code);
    if (!outcome.ran) process.stderr.write(`No test ran${args.length > 0 ? `: what was given to vitest (${args.join(' ')}) selects none` : ''}.\n`);
    process.stdout.write(`${closingLine(outcome.counts)}\n`);
    return outcome.code;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
