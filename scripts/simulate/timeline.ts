import type { TimelineEvent } from '../timeline/events.ts';

/** Groups of a page, and most runners of it: more are not readable. */
const GROUPS = 24;
const MOST_RUNNERS = 3_000;

/**
 * The events of a simulation for the page of the timeline. A large fleet has more than one page shows, so at most 24 groups are recorded, the
 * large ones and the small ones evenly.
 */
export class TimelineRecorder {
  readonly events: TimelineEvent[] = [];
  private readonly groups: ReadonlySet<string>;
  private runners = 0;

  /** @param groups ids of all groups, the largest first */
  constructor(groups: readonly string[]) {
    const each = Math.ceil(groups.length / GROUPS);
    this.groups = new Set(groups.filter((_, index) => index % each === 0));
  }

  add(group: string, event: TimelineEvent): void {
    if (!this.groups.has(group)) return;
    if (event.event === 'launch') this.runners += 1;
    if (this.runners <= MOST_RUNNERS) this.events.push(event);
  }

  /** What concerns no group. */
  note(event: TimelineEvent): void {
    this.events.push(event);
  }
}
