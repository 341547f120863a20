import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { reportSchema } from '../../../shared/fleet/report.ts';
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

test.each(bodies)('$report is sent as the functions read it', async (body) => {
  const one = reporter(0);
  await one.send(body);
  expect(v.parse(reportSchema, JSON.parse(one.bodies[0] ?? ''))).toMatchObject({ ...body, instanceId: id });
});

describe('when the queue cannot be reached', () => {
  test('a report that must arrive is tried until it does, and each failure is in the log', async () => {
    const one = reporter(1);
    await one.send({ report: 'Runner Drained' });
    expect(one.bodies).toHaveLength(1);
    expect(one.lines).toEqual([expect.stringContaining('no network'), 'reported: Runner Drained']);
  });

  test('it is given up only when it serves nothing any more', async () => {
    const one = reporter(1_000);
    const stop = new AbortController();
    const sending = one.send({ report: 'Runner Drained' }, stop.signal);
    setTimeout(() => stop.abort(), 20);
    await expect(sending).rejects.toThrow();
    expect(one.bodies).toEqual([]);
  });

  test('a heartbeat is tried once: the next one is near', async () => {
    const one = reporter(1);
    await one.trySend({ report: 'Runner Heartbeat', phase: 'drain' });
    expect(one.bodies).toEqual([]);
    expect(one.lines).toHaveLength(1);
  });
});
