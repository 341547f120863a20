import type { QueuedJob } from '../ci-providers.ts';
import type { Cloud } from '../cloud.ts';
import type { waitFor } from './wait-for.ts';

/** What the steps of the demo share. */
export type Demo = {
  root: string;
  cloud: Cloud;
  /** Prints one line with the title of the step. */
  log(line: string): void;
  waitFor: typeof waitFor;
  /** Snapshots that earlier steps created. */
  snapshots: { first?: string; second?: string };
  /** The jobs of the second act, in the order of their arrival. */
  burst: QueuedJob[];
};

/** One step of the demo. */
export type Step = {
  title: string;
  /** @returns the result for the table; throws if the step failed */
  run(demo: Demo): Promise<string>;
};

/** The state after a step differs from the expected state. */
export class StepFailed extends Error {
  override readonly name = 'StepFailed';
}

/** @throws {StepFailed} with `message` unless the condition holds */
export function expectThat(condition: boolean, message: string): asserts condition {
  if (!condition) throw new StepFailed(message);
}
