import type { Cloud } from '../cloud.ts';
import type { until as untilTrue } from './until.ts';

/** What the chapters of the day share. */
export type Day = {
  root: string;
  cloud: Cloud;
  /** Tells the person who looks on what has just happened. */
  tell(line: string): void;
  until: typeof untilTrue;
  /** What earlier chapters have found out. */
  known: { firstSnapshot?: string; secondSnapshot?: string };
};

/** One step of the day. */
export type Chapter = {
  title: string;
  /** @returns the figure of the table; throws if the step did not work */
  play(day: Day): Promise<string>;
};

/** A step found something else than it should have. */
export class StepFailed extends Error {
  override readonly name = 'StepFailed';
}

/** @throws {StepFailed} */
export function expectThat(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new StepFailed(otherwise);
}
