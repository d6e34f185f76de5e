import { describe, expect, it } from 'vitest';
import { closingLine, summarize } from '../../../deploy/setup/checks.mjs';

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
