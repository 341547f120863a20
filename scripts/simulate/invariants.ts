/** Rules of the design that hold at every step of every history. */
export const INVARIANTS = {
  'no-job-killed': 'a running job ends only by itself, with its Spot instance, or with its zone',
  'one-completion': 'a lifecycle action is completed at most once',
  'desired-within-bounds': 'nothing asks for a capacity above the maximum or below the minimum of a group',
  'scaling-only-raises': 'the function scaling never lowers a capacity',
  'registered-in-service': 'an instance gets a registration only after it has come into service',
  'one-agent': 'an instance never runs two agents at once',
  'name-used-once': 'a registration name is never used again',
  'no-run-without-end': 'a warming run ends within ten minutes of its deadline',
  'pointer-readable': 'the pointer of a set is always readable, and names no quarantined snapshot',
  'no-credential': 'no record, report, event or log line has a credential',
  'limits-kept': 'no API is called above its published limit',
  'records-fit': 'no record in the bucket comes near the size at which it is not read any more',
  'no-dead-letter': 'every message of a queue ends, and none in a dead-letter queue',
  'tree-follows': 'no parameter of a capacity is wrong for an hour without a write',
  'runner-has-agent': 'no instance is in service for an hour without an agent while its provider answers',
  'grows-with-backlog':
    'no job waits for 15 minutes beside a group that could take it, is below its maximum, and has had all it needs for as long',
  'jobs-end': 'every job that a group can take runs exactly once',
} as const;
export type InvariantName = keyof typeof INVARIANTS;

export type Violation = { invariant: InvariantName; at: number; detail: string };

/** Violations kept per invariant; all are counted. */
const KEPT = 20;

export class Invariants {
  readonly violations: Violation[] = [];
  readonly counts = new Map<InvariantName, number>();
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  broken(invariant: InvariantName, detail: string): void {
    const count = (this.counts.get(invariant) ?? 0) + 1;
    this.counts.set(invariant, count);
    if (count <= KEPT) this.violations.push({ invariant, at: this.now(), detail });
  }
}
