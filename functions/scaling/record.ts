import * as v from 'valibot';
import {
  BACKLOG_KEY,
  type BacklogRecord,
  backlogRecordSchema,
  type GroupBacklog,
} from '../../shared/fleet/backlog-record.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import type { ScalingDeps } from './ports.ts';

/** Longest time for which `readAt` stays while nothing else changes, in milliseconds. Each change writes a parameter. */
const READ_AT_MS = 15 * 60_000;

/** Most unmatched jobs of a group that are remembered. */
const MAX_UNMATCHED = 200;

/**
 * Most characters of the ids of unmatched jobs of all groups together: the record has at most 1 MiB, above which it is not read, and the
 * rest of a thousand groups has a fifth of it. Jobs beyond it count again.
 */
const MAX_UNMATCHED_CHARACTERS = 600_000;

/** The record while one invocation polls. No other invocation changes it or polls in this time. */
export class HeldRecord {
  private etag: string;
  private readonly store: ScalingDeps['store'];
  private current: BacklogRecord;

  private constructor(store: ScalingDeps['store'], current: BacklogRecord, etag: string) {
    this.store = store;
    this.current = current;
    this.etag = etag;
  }

  /**
   * Takes the record. Reserved concurrency alone does not do: an account can have too little to reserve, and two invocations that read
   * different backlogs could lower a capacity between them.
   *
   * @param poll its invocation, and whether it reads the sources of hints only
   * @returns what holds the record at present, if something else does: the poll of a minute or one because of hints
   */
  static async take(
    poll: { id: string; until: Date; isHint: boolean },
    { store, clock, logger }: Pick<ScalingDeps, 'store' | 'clock' | 'logger'>,
  ): Promise<HeldRecord | 'minute' | 'hint'> {
    const stored = await store.read(BACKLOG_KEY);
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), backlogRecordSchema), stored?.text);
    if (stored && !parsed.success) logger.warn('record of another format replaced', { key: BACKLOG_KEY });
    const before: BacklogRecord = parsed.success ? parsed.output : { version: 1, groups: {} };
    const holder = before.poll;
    if (holder && holder.id !== poll.id && new Date(holder.until) > clock.now())
      return holder.isHint ? 'hint' : 'minute';
    const taken = {
      id: poll.id,
      until: poll.until.toISOString(),
      ...(poll.isHint && { isHint: true as const }),
    };
    const current: BacklogRecord = { ...before, poll: taken };
    const etag = await store.write(
      BACKLOG_KEY,
      current,
      stored ? { ifMatch: stored.etag } : { ifNoneMatch: true },
    );
    // Another invocation was first. The poll of a minute comes back in a moment to see which kind.
    return etag === undefined ? 'hint' : new HeldRecord(store, current, etag);
  }

  group(id: string): GroupBacklog | undefined {
    return this.current.groups[id];
  }

  /** Notes what was read of a group; `save` writes it. */
  note(id: string, next: GroupBacklog): void {
    const before = this.current.groups[id];
    const isSame =
      before?.queued === next.queued && before.running === next.running && before.oldest === next.oldest;
    const isFresh = isSame && Date.parse(next.readAt) - Date.parse(before.readAt) < READ_AT_MS;
    this.current.groups[id] = {
      ...next,
      unmatched: next.unmatched.slice(0, MAX_UNMATCHED),
      ...(isFresh && { readAt: before.readAt }),
    };
  }

  /**
   * Writes what was noted, without the groups that are not declared any more.
   *
   * @param isLast whether other invocations may poll from now on
   * @throws {RetryableError} `poll-lost` if another invocation has taken the record
   */
  async save(declared: ReadonlySet<string>, isLast: boolean): Promise<void> {
    const groups = Object.entries(this.current.groups).filter(([id]) => declared.has(id));
    const { poll } = this.current;
    const fitting = withinSize(groups);
    this.current = { version: 1, ...(poll && !isLast && { poll }), groups: Object.fromEntries(fitting) };
    const etag = await this.store.write(BACKLOG_KEY, this.current, { ifMatch: this.etag });
    if (etag === undefined) throw new RetryableError('poll-lost', 'another invocation polls');
    this.etag = etag;
  }
}

/** The groups with as many of their unmatched jobs as the record has room for, the same share of each. */
function withinSize(groups: readonly [string, GroupBacklog][]): readonly [string, GroupBacklog][] {
  const characters = groups.reduce(
    (sum, [, { unmatched }]) => unmatched.reduce((own, id) => own + id.length + 3, sum),
    0,
  );
  const share = MAX_UNMATCHED_CHARACTERS / characters;
  if (share >= 1) return groups;
  return groups.map(([id, group]) => [
    id,
    { ...group, unmatched: group.unmatched.slice(0, Math.floor(group.unmatched.length * share)) },
  ]);
}
