import * as v from 'valibot';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Report, reportSchema } from '../../shared/fleet/report.ts';
import { handleBatch } from '../../shared/runtime/inbox.ts';
import { recordHandler } from '../../shared/runtime/record.ts';
import { queueUrl, sqsRecord } from '../../test/support/sqs.ts';
import { MAX_REPORT_BYTES } from './report-limits.ts';
import { FakeFleet, INSTANCE, REPORTS, ROLE_ID } from './testing/fake-fleet.ts';

const OTHER = 'i-0fedcba9876543210';

let fleet: FakeFleet;
let dead: { reason: string; body: string }[];
let lines: unknown[];
beforeEach(() => {
  fleet = new FakeFleet();
  dead = [];
  lines = [];
});

let sent = 0;
/** A record of the queue of reports. */
function record(body: unknown, instanceId = INSTANCE) {
  sent += 1;
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const senderId = `${ROLE_ID}:${instanceId}`;
  return sqsRecord(text, { id: `m-${sent}`, queue: 'aw-reports', senderId, sentAt: fleet.now });
}

/** Plays batches of ten through the record loop of one execution environment. */
async function receive(records: ReturnType<typeof record>[]): Promise<string[]> {
  const line = (_: string, fields?: object) => void lines.push(fields);
  const inner = recordHandler((message) => fleet.handleMessage(message), {
    retryFor: 3_600_000,
    clock: { now: () => fleet.now },
  });
  const kept: string[] = [];
  for (let start = 0; start < records.length; start += 10) {
    const answer = await handleBatch(
      records.slice(start, start + 10),
      (one, limitMs) => fleet.limits.guard(one, () => inner(one, limitMs)),
      5_000,
      {
        sqs: {
          send: async ({ input }: { input: { MessageBody?: string; MessageAttributes?: object } }) => {
            if (input.MessageBody === undefined) return {};
            const { Reason } = input.MessageAttributes as { Reason: { StringValue: string } };
            dead.push({ reason: Reason.StringValue, body: input.MessageBody });
            return {};
          },
        } as never,
        inboxUrls: [queueUrl('aw-reports')],
        deadLetterUrl: queueUrl('aw-lifecycle-dead'),
        logger: { debug: line, info: line, warn: line, error: line },
      },
    );
    kept.push(...answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
  }
  return kept;
}

const times = <T>(count: number, of: (index: number) => T) =>
  Array.from({ length: count }, (_, index) => of(index));

describe('a flood of one instance', () => {
  test('of equal heartbeats makes one call, and has one line in the log', async () => {
    fleet.state = 'Terminating:Wait';
    expect(await receive(times(2_000, () => record(REPORTS.heartbeat)))).toEqual([]);
    expect(fleet.calls).toEqual([`heartbeat aw-gha-default aw-drain ${INSTANCE}`]);
    expect(dead).toEqual([]);
    expect(lines).toHaveLength(1);
    expect(fleet.warnings).toEqual(['reports dropped']);
  });

  test('of heartbeats over ten minutes makes a call per ten seconds, and no hook times out', async () => {
    fleet.state = 'Terminating:Wait';
    for (let second = 0; second < 600; second += 1) {
      await receive(times(5, () => record(REPORTS.heartbeat)));
      fleet.now = new Date(fleet.now.getTime() + 1_000);
    }
    expect(fleet.calls).toHaveLength(60);
  });

  test('of every kind of report makes at most one call or two per kind', async () => {
    await receive(times(3_000, (index) => record(Object.values(REPORTS)[index % 6])));
    expect(fleet.calls.length).toBeLessThanOrEqual(6);
    expect(fleet.published.length).toBeLessThanOrEqual(2);
  });

  test('of malformed reports of every size has three dead letters', async () => {
    const sizes = [1, 100, 8_000, 9_000, 300_000, 1_048_576];
    const bodies = times(1_000, (index) => 'x'.repeat(sizes[index % 6] ?? 1));
    expect(await receive(bodies.map((body) => record(body)))).toEqual([]);
    expect(dead).toHaveLength(3);
    expect(lines.length).toBeLessThanOrEqual(4);
    expect(fleet.calls).toEqual([]);
    fleet.now = new Date(fleet.now.getTime() + 3_600_000);
    await receive(times(100, () => record({})));
    expect(dead.length).toBeLessThanOrEqual(6);
  });

  test('of reports for other instances has three dead letters, and calls nothing', async () => {
    const forged = { ...REPORTS.drained, instanceId: OTHER };
    await receive(times(1_000, () => record(forged)));
    expect(dead.map(({ reason }) => reason)).toEqual(times(3, () => 'forged-instance'));
    expect(fleet.calls).toEqual([]);
  });

  test('from many names has thirty dead letters at once, and one per minute', async () => {
    const name = (index: number) => `i-${index.toString(16).padStart(17, '0')}`;
    await receive(times(1_000, (index) => record({}, name(index))));
    expect(dead).toHaveLength(30);
    fleet.now = new Date(fleet.now.getTime() + 600_000);
    await receive(times(1_000, (index) => record({}, name(index))));
    expect(dead).toHaveLength(40);
  });

  test('keeps no report of another instance from its hook', async () => {
    fleet.state = 'Terminating:Wait';
    const flood = times(1_000, (index) => record(index % 2 ? REPORTS.heartbeat : '{'));
    const honest = { ...REPORTS.heartbeat, instanceId: OTHER };
    await receive([...flood, record(honest, OTHER)]);
    expect(fleet.calls.at(-1)).toBe(`heartbeat aw-gha-default aw-drain ${OTHER}`);
    await receive([record({ ...honest, group: 'gha/x' }, OTHER)]);
    expect(dead.at(-1)?.reason).toBe('forged-group');
  });
});

describe('heartbeats of a drain that has a limit', () => {
  beforeEach(() => {
    fleet.drainTimeoutSeconds = 3_600;
    fleet.state = 'Terminating:Wait';
  });

  /** One heartbeat per minute; their outcomes. */
  async function beat(minutes: number, seconds = 0): Promise<string[]> {
    const reasons: string[] = [];
    for (let minute = 0; minute < minutes; minute += 1) {
      const outcome = await fleet.report(
        { ...REPORTS.heartbeat, seconds: { drain: seconds } },
        { id: `b-${sent++}` },
      );
      reasons.push(outcome.outcome === 'skipped' ? outcome.reason : outcome.outcome);
      fleet.now = new Date(fleet.now.getTime() + 60_000);
    }
    return reasons;
  }

  test('are not passed on after it, whatever they report, so the hook times out', async () => {
    const reasons = await beat(60 * 48);
    expect(reasons.slice(0, 66)).toEqual(times(66, () => 'done'));
    expect(new Set(reasons.slice(66))).toEqual(new Set(['drain-limit-reached']));
    expect(fleet.calls).toHaveLength(66);
  });

  test('count from the first one that extended the hook', async () => {
    fleet.state = 'InService';
    expect(new Set(await beat(120))).toEqual(new Set(['no-active-action']));
    fleet.state = 'Terminating:Wait';
    expect(await beat(66)).toEqual(times(66, () => 'done'));
    expect(await beat(1)).toEqual(['drain-limit-reached']);
  });

  test('are passed on while the record of the group cannot be read', async () => {
    await beat(1);
    fleet.now = new Date(fleet.now.getTime() + 7_200_000);
    fleet.isBucketGone = true;
    expect(await beat(2)).toEqual(['done', 'done']);
    fleet.isBucketGone = false;
    expect(await beat(1)).toEqual(['drain-limit-reached']);
  });

  test('are passed on for ever without a limit, and nothing is noted', async () => {
    fleet.drainTimeoutSeconds = undefined;
    expect(new Set(await beat(60 * 47))).toEqual(new Set(['done']));
    expect(await fleet.store.read('lifecycle/gha/default.json')).toBeUndefined();
  });
});

describe('a report', () => {
  test('that is too large is dead unread, and is kept in the dead-letter queue', async () => {
    const large = JSON.stringify({ ...REPORTS.heartbeat, job: 'x'.repeat(MAX_REPORT_BYTES) });
    await receive([record(large)]);
    expect(dead).toEqual([{ reason: 'oversized-report', body: large }]);
    expect(fleet.calls).toEqual([]);
  });

  test('of the greatest size that SQS accepts can be moved to the dead-letter queue', async () => {
    expect(await receive([record('x'.repeat(1_048_576))])).toEqual([]);
    expect(dead).toHaveLength(1);
  });

  test('of a runner is never too large, whatever its texts contain', () => {
    const worst = '\u0001'.repeat(5_000);
    const reports: Report[] = [
      { ...REPORTS.failed, stage: worst, reason: worst },
      {
        ...REPORTS.ready,
        snapshot: { ...REPORTS.ready.snapshot, broken: { id: 'x'.repeat(64), reason: worst } },
      },
      { ...REPORTS.unhealthy, reason: worst },
      { ...REPORTS.heartbeat, job: worst } as Report,
    ];
    for (const report of reports) {
      const group = `cci/${'g'.repeat(48)}`;
      const names = { group, autoScalingGroup: `${'p'.repeat(11)}-${group.replace('/', '-')}` };
      const parsed = { ...report, ...names };
      const body = JSON.stringify(v.parse(reportSchema, parsed));
      expect(Buffer.byteLength(body), report.report).toBeLessThanOrEqual(MAX_REPORT_BYTES);
    }
  });

  test('that SQS delivers twice is applied twice, and one that is retried is applied again', async () => {
    fleet.state = 'Pending:Wait';
    fleet.actionsBegun = false;
    const one = record(REPORTS.ready);
    expect(await receive([one])).toEqual([one.messageId]);
    fleet.actionsBegun = true;
    expect(await receive([one])).toEqual([]);
    expect(fleet.calls).toHaveLength(2);
    expect(fleet.state).toBe('Proceeding');
  });

  test('of another phase, another kind or ten seconds later is applied', async () => {
    fleet.state = 'Terminating:Wait';
    await receive([record(REPORTS.heartbeat), record({ ...REPORTS.heartbeat, phase: 'boot' })]);
    fleet.now = new Date(fleet.now.getTime() + 10_000);
    await receive([record(REPORTS.heartbeat), record(REPORTS.drained)]);
    expect(fleet.calls).toHaveLength(4);
  });
});
