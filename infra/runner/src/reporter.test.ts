import * as v from 'valibot';
import { describe, expect, test, vi } from 'vitest';
import { MAX_SECONDS, reportSchema } from '../../../shared/fleet/report.ts';
import { type ReportBody, sqsReporter } from './reporter.ts';

const config = {
  group: 'gha/default',
  autoScalingGroup: 'aw-gha-default',
  reportsUrl: 'http://127.0.0.1/1/reports',
};
const id = 'i-0123456789abcdef0';

function reporter(failures: number) {
  const bodies: string[] = [];
  const lines: string[] = [];
  let left = failures;
  const send = async (command: { input: { QueueUrl?: string; MessageBody?: string } }) => {
    if (left-- > 0) throw new Error('no network');
    expect(command.input.QueueUrl).toBe(config.reportsUrl);
    bodies.push(command.input.MessageBody ?? '');
  };
  return { bodies, lines, ...sqsReporter({ send } as never, config, id, (line) => lines.push(line)) };
}

const bodies: ReportBody[] = [
  { report: 'Runner Heartbeat', phase: 'boot' },
  { report: 'Runner Ready', snapshot: { set: 'default', outcome: 'cold' }, seconds: { restore: 0, boot: 1 } },
  { report: 'Runner Failed', stage: 'agent', reason: 'no token' },
  { report: 'Runner Drained', seconds: { drain: 12 } },
  { report: 'Runner Idle', idleSeconds: 1800 },
  { report: 'Runner Unhealthy', reason: 'disk full' },
];

test.each(bodies)('$report is sent as the functions parse it', async (body) => {
  const one = reporter(0);
  await one.send(body);
  expect(v.parse(reportSchema, JSON.parse(one.bodies[0] ?? ''))).toMatchObject({ ...body, instanceId: id });
});

describe('when the queue cannot be reached', () => {
  test('a report that must arrive is tried until it is sent, and each failure is logged', async () => {
    const one = reporter(1);
    await one.send({ report: 'Runner Drained' });
    expect(one.bodies).toHaveLength(1);
    expect(one.lines).toEqual([expect.stringContaining('no network'), 'reported: Runner Drained']);
  });

  test('it is dropped only when its signal is aborted', async () => {
    const one = reporter(1_000);
    const stop = new AbortController();
    const sending = one.send({ report: 'Runner Drained' }, stop.signal);
    setTimeout(() => stop.abort(), 20);
    await expect(sending).rejects.toThrow();
    expect(one.bodies).toEqual([]);
  });

  test('a heartbeat is tried once: the next one follows soon', async () => {
    const one = reporter(1);
    expect(await one.trySend({ report: 'Runner Heartbeat', phase: 'drain' })).toBe(false);
    expect(one.bodies).toEqual([]);
    expect(one.lines).toHaveLength(1);
  });
});

describe('numbers and texts out of range are sent within their limits', () => {
  const long = 'x'.repeat(5_000);
  test.each<[ReportBody, object]>([
    [{ report: 'Runner Idle', idleSeconds: 1e12 }, { idleSeconds: MAX_SECONDS }],
    [{ report: 'Runner Idle', idleSeconds: 691_200 }, { idleSeconds: 691_200 }],
    [{ report: 'Runner Drained', seconds: { drain: -0.2 } }, { seconds: { drain: 0 } }],
    [
      {
        report: 'Runner Ready',
        snapshot: { set: 'x', outcome: 'cold' },
        seconds: { restore: -1, boot: -0.2 },
      },
      { seconds: { restore: 0, boot: 0 } },
    ],
    [{ report: 'Runner Heartbeat', phase: 'drain', job: long }, { job: long.slice(0, 255) }],
    [{ report: 'Runner Unhealthy', reason: long }, { reason: long.slice(0, 1_000) }],
    [{ report: 'Runner Failed', stage: long, reason: long }, { stage: long.slice(0, 255) }],
  ])('%#', async (body, expected) => {
    const one = reporter(0);
    await one.trySend(body);
    expect(JSON.parse(one.bodies[0] ?? '')).toMatchObject(expected);
  });
});

test('a queue that never answers ends a try after a while', async () => {
  vi.useFakeTimers();
  try {
    const lines: string[] = [];
    const silent = { send: () => new Promise(() => {}) } as never;
    const sending = sqsReporter(silent, config, id, (line) => lines.push(line)).trySend({
      report: 'Runner Drained',
    });
    await vi.advanceTimersByTimeAsync(16_000);
    expect(await sending).toBe(false);
    expect(lines[0]).toContain('did not answer within 15 s');
  } finally {
    vi.useRealTimers();
  }
});
