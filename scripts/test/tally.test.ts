import { describe, expect, test } from 'vitest';
import { failures, stepTally, sum, tallyText, unstable, vitestTally } from './tally.ts';

const report = (counts: object) =>
  JSON.stringify({
    numPassedTests: 0,
    numFailedTests: 0,
    numPendingTests: 0,
    numFailedTestSuites: 0,
    ...counts,
  });

describe('the count of npm test', () => {
  test('takes what vitest counted', () => {
    const text = report({ numPassedTests: 7, numFailedTests: 2, numPendingTests: 1 });
    expect(vitestTally(text, 1)).toEqual({ passed: 7, failed: 2, skipped: 1 });
  });

  test('a run that failed outside of any test has failed', () => {
    expect(vitestTally(report({ numPassedTests: 7 }), 1).failed).toBe(1);
    expect(vitestTally(report({ numFailedTestSuites: 2 }), 1).failed).toBe(2);
  });

  test('a run that left no report has failed', () => {
    expect(vitestTally(undefined, 137).failed).toBe(1);
  });

  test('adds up and reads as one plain line', () => {
    const total = sum([stepTally(0), stepTally(2), { passed: 3, failed: 0, skipped: 4 }]);
    expect(tallyText(total)).toBe('4 passed, 1 failed, 4 skipped');
    expect(tallyText({ passed: 4, failed: 0, skipped: 0 })).toBe('4 passed, 0 failed');
  });
});

describe('the failures of npm test', () => {
  const text = (testResults: object[]) => report({ testResults });

  test('are the failed tests with their files and messages', () => {
    const assertionResults = [
      { status: 'passed', fullName: 'a b', failureMessages: [] },
      { status: 'failed', fullName: 'a c', failureMessages: [`Error: 1 is not 2${'!'.repeat(9_000)}`] },
    ];
    const [first, ...others] = failures(text([{ name: '/x/a.test.ts', status: 'failed', assertionResults }]));
    expect(first).toMatch(/^\/x\/a\.test\.ts > a c\nError: 1 is not 2!/);
    expect(first?.length).toBeLessThan(3_000);
    expect(others).toEqual([]);
  });

  test('include a file that does not load', () => {
    const file = {
      name: '/x/b.test.ts',
      status: 'failed',
      message: 'Cannot find module',
      assertionResults: [],
    };
    expect(failures(text([file]))).toEqual(['/x/b.test.ts\nCannot find module']);
  });

  test('are apart from tests that passed when they were repeated, which are named with their first failure', () => {
    const assertionResults = [
      { status: 'passed', fullName: 'a b', failureMessages: ['Error: seed 7'] },
      { status: 'passed', fullName: 'a c', failureMessages: [] },
    ];
    const repeated = text([{ name: '/x/a.test.ts', status: 'passed', assertionResults }]);
    expect(failures(repeated)).toEqual([]);
    expect(unstable(repeated)).toEqual(['/x/a.test.ts > a b\nError: seed 7']);
    expect(unstable(undefined)).toEqual([]);
  });

  test('are none without a report and in a green one', () => {
    expect(failures(undefined)).toEqual([]);
    expect(failures(report({}))).toEqual([]);
  });
});
