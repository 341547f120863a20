import { errorText } from '../../../../shared/runtime/errors.ts';

/**
 * Runs `after` when `work` has ended, also if `work` failed. The first failure is thrown: a failure of `after` is only logged
 * if `work` has failed already.
 */
export async function runThenAlways(
  work: Promise<void>,
  after: () => Promise<void>,
  log: (line: string) => void,
): Promise<void> {
  try {
    await work;
  } catch (error) {
    await after().catch((later: unknown) => log(`after that: ${errorText(later)}`));
    throw error;
  }
  await after();
}
