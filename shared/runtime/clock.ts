/** The current time. Tests replace it. */
export type Clock = { now(): Date };

/** The clock of the operating system. */
export const systemClock: Clock = { now: () => new Date() };
