import * as v from 'valibot';

/** What one step, or all of them, came to. */
export type Tally = { passed: number; failed: number; skipped: number };

/** The part of vitest's JSON report that counts. */
const reportSchema = v.object({
  numPassedTests: v.number(),
  numFailedTests: v.number(),
  numPendingTests: v.number(),
  numTodoTests: v.optional(v.number(), 0),
  numFailedTestSuites: v.number(),
  testResults: v.optional(
    v.array(
      v.object({
        name: v.string(),
        status: v.optional(v.string()),
        message: v.optional(v.string(), ''),
        assertionResults: v.array(
          v.object({
            status: v.string(),
            fullName: v.string(),
            failureMessages: v.nullish(v.array(v.string())),
          }),
        ),
      }),
    ),
    [],
  ),
});

/**
 * The count of a vitest step.
 *
 * @param report text of the JSON report, undefined if vitest died before writing one
 * @param exitCode of vitest: a run can fail with no failed test (a file that does not load, an error outside of tests)
 */
export function vitestTally(report: string | undefined, exitCode: number): Tally {
  if (report === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const counts = v.parse(reportSchema, JSON.parse(report));
  const failed = counts.numFailedTests || (exitCode === 0 ? 0 : Math.max(1, counts.numFailedTestSuites));
  return { passed: counts.numPassedTests, failed, skipped: counts.numPendingTests + counts.numTodoTests };
}

/** Longest text of one failure, in characters. */
const FAILURE_LENGTH = 2_000;

/** The failed tests of a vitest report, each with its file and what it printed: they are named again at the end of a long run. */
export function failures(report: string | undefined): string[] {
  return testFiles(report).flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((result) => result.status === 'failed');
    if (failed.length === 0) return status === 'failed' ? [failure(name, message)] : [];
    return failed.map((result) => testFailure(name, result));
  });
}

/** The tests that passed only when they were repeated, each with its first failure. They do not fail a run, and each has a cause. */
export function unstable(report: string | undefined): string[] {
  return testFiles(report).flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status, failureMessages }) => status === 'passed' && (failureMessages?.length ?? 0) > 0)
      .map((result) => testFailure(name, result)),
  );
}

function testFiles(report: string | undefined) {
  return report === undefined ? [] : v.parse(reportSchema, JSON.parse(report)).testResults;
}

function testFailure(
  file: string,
  { fullName, failureMessages }: { fullName: string; failureMessages?: string[] | null | undefined },
): string {
  return failure(`${file} > ${fullName}`, failureMessages?.[0] ?? '');
}

const failure = (title: string, text: string) => `${title}\n${text.slice(0, FAILURE_LENGTH)}`.trimEnd();

/** The count of a step that passes or fails as a whole. */
export function stepTally(exitCode: number): Tally {
  return exitCode === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

export function sum(tallies: readonly Tally[]): Tally {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const tally of tallies) {
    total.passed += tally.passed;
    total.failed += tally.failed;
    total.skipped += tally.skipped;
  }
  return total;
}

/** `12 passed, 0 failed, 3 skipped`: what `npm test` prints last. */
export function tallyText(tally: Tally): string {
  const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : '';
  return `${tally.passed} passed, ${tally.failed} failed${skipped}`;
}
