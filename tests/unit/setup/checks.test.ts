import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { closingLine, summarize, verdict } from '../../../deploy/setup/checks.mjs';

const report = { numPassedTests: 7, numFailedTests: 1, numPendingTests: 1, numTodoTests: 1, testResults: [{ status: 'passed', assertionResults: [{}] }] };

describe('the closing line', () => {
  it('counts passed, failed and skipped tests', () => {
    expect(closingLine(summarize(report))).toBe('7 passed, 1 failed, 2 skipped');
  });

  it('leaves skipped out when there are none', () => {
    expect(closingLine({ passed: 3, failed: 0, skipped: 0 })).toBe('3 passed, 0 failed');
  });

  it('counts a file that does not load as a failure', () => {
    const testResults = [...report.testResults, { status: 'failed', assertionResults: [] }];
    expect(summarize({ ...report, numFailedTests: 0, testResults }).failed).toBe(1);
  });
});

describe('the end of a test run', () => {
  it.each([
    ['tests passed', { passed: 7, failed: 0, skipped: 2 }, 0, '7 passed, 0 failed, 2 skipped', 0],
    ['one failed', { passed: 7, failed: 1, skipped: 0 }, 1, '7 passed, 1 failed', 1],
    ['vitest broke after its tests', { passed: 7, failed: 0, skipped: 0 }, 3, '7 passed, 1 failed', 3],
    ['no test ran: another name was asked for', { passed: 0, failed: 0, skipped: 9 }, 0, '0 passed, 1 failed, 9 skipped', 1],
    ['no test ran: vitest printed its help', { passed: 0, failed: 0, skipped: 0 }, 0, '0 passed, 1 failed', 1],
  ] as const)('%s', (_, counts, code, line, ends) => {
    const outcome = verdict(counts, code);
    expect([closingLine(outcome.counts), outcome.code]).toEqual([line, ends]);
  });
});

it.each(['test', 'test:simulation', 'test:chaos', 'lint', 'build'])('npm run %s -- --help answers without doing anything', (command) => {
  const child = spawnSync(process.execPath, [fileURLToPath(new URL('../../../deploy/setup/run.mjs', import.meta.url)), command, '--help'], { encoding: 'utf8' });
  expect(child).toMatchObject({ status: 0, stderr: '' });
  expect(child.stdout).toMatch(new RegExp(`^npm (run )?${command}`));
});
