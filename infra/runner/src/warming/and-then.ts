import { errorText } from '../../../../shared/runtime/errors.ts';

/**
 * Does one thing after another, whatever became of the first. What is thrown is the first failure: the one of `after` is
 * only logged if `work` has failed already.
 */
export async function andThen(
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
