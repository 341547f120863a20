import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { foldEvents } from '../fleet.ts';
import { readRecording } from './local-run.ts';

const ID = 'i-0123456789abcdef0';
const RUN = {
  kind: 'run',
  version: 1,
  title: 'A day',
  startedAt: 1_000,
  endedAt: 9_000,
  prefix: 'aw',
  groups: [{ id: 'gha/default', min: 0, purchase: 'spot' }],
};
const ACTIVITY = {
  kind: 'activity',
  autoScalingGroup: 'aw-gha-default',
  statusMessage: '',
  zone: 'us-west-2a',
};

let file: string;
beforeEach(async () => {
  file = join(await mkdtemp(join(tmpdir(), 'timeline-')), 'day.jsonl');
});
afterEach(() => rm(join(file, '..'), { recursive: true }));

async function read(...items: object[]) {
  await writeFile(file, items.map((item) => JSON.stringify(item)).join('\n'));
  return foldEvents(await readRecording(file));
}

test('an instance from its launch to its end, with its job and the desired capacity', async () => {
  const call = (at: number, operation: string, parameters: object) => ({
    kind: 'call',
    at,
    operation,
    parameters,
  });
  const fleet = await read(
    RUN,
    call(1_500, 'SetDesiredCapacity', { AutoScalingGroupName: 'aw-gha-default', DesiredCapacity: '1' }),
    call(6_000, 'TerminateInstanceInAutoScalingGroup', {
      InstanceId: ID,
      ShouldDecrementDesiredCapacity: 'true',
    }),
    {
      ...ACTIVITY,
      description: `Terminating EC2 instance: ${ID}`,
      cause: `At 2026-11-23T08:00:00Z instance ${ID} was taken out of service in response to a user request, shrinking the capacity from 1 to 0.`,
      status: 'Successful',
      startedAt: 6_000,
      endedAt: 8_000,
    },
    {
      ...ACTIVITY,
      description: `Launching a new EC2 instance: ${ID}`,
      cause: 'x',
      status: 'Successful',
      startedAt: 1_600,
      endedAt: 2_500,
    },
    {
      ...ACTIVITY,
      description: 'Launching a new EC2 instance.  Status Reason: no capacity',
      cause: '',
      status: 'Failed',
      statusMessage: 'no capacity',
      startedAt: 3_000,
      endedAt: 3_000,
    },
    {
      kind: 'job',
      id: 'gha 1',
      name: 'build',
      group: 'gha/default',
      agent: `${ID}-1`,
      queuedAt: 1_400,
      startedAt: 2_600,
      finishedAt: 5_000,
      result: 'lost',
      starts: 1,
    },
    {
      kind: 'function-line',
      at: 6_001,
      text: JSON.stringify({
        service: 'lifecycle',
        message: 'record handled',
        record: { outcome: 'done' },
        report: {
          report: 'Runner Idle',
          group: 'gha/default',
          instanceId: ID,
          autoScalingGroup: 'aw-gha-default',
          at: '2026-11-23T08:00:00Z',
          idleSeconds: 5,
        },
      }),
    },
    { kind: 'runner-line', at: 2_400, runner: ID, group: 'gha/default', text: 'cold in 0.1 s' },
    { kind: 'incident', id: '1', severity: 'critical', summary: 'x', openedAt: 3_500 },
  );
  expect(fleet).toMatchObject({ title: 'A day', from: 1_000, to: 9_000 });
  const [group] = fleet.groups;
  expect(group).toMatchObject({
    id: 'gha/default',
    desired: [
      [1_000, 0],
      [1_500, 1],
      [6_000, 0],
    ],
    queued: [
      [1_400, 1],
      [2_600, 0],
    ],
    runners: [
      {
        id: ID,
        launchedAt: 1_600,
        purchase: 'spot',
        inServiceAt: 2_500,
        drainAt: 6_000,
        drainWhy: 'it was idle',
        endedAt: 8_000,
        restore: { outcome: 'cold' },
        jobs: [{ name: 'build', result: 'killed' }],
      },
    ],
  });
  expect(fleet.notes).toMatchObject([
    { at: 3_000, group: 'gha/default', text: 'launch failed: no capacity' },
  ]);
  expect(fleet.incidents).toHaveLength(1);
});

test('a job that was started twice was killed once', async () => {
  const job = {
    kind: 'job',
    id: 'bk 1',
    name: 'x',
    queuedAt: 1,
    startedAt: 2,
    finishedAt: 3,
    result: 'succeeded',
    starts: 2,
  };
  expect((await read(RUN, job)).figures).toMatchObject({ jobs: 1, killed: 1 });
});

test('a line of another kind is named, and a recording without its first line is refused', async () => {
  await expect(read(RUN, { kind: 'secret' })).rejects.toThrow(
    /day\.jsonl line 2 is no item of a recording: kind/,
  );
  await expect(read({ kind: 'function-line', at: 1, text: '' })).rejects.toThrow(/no line of the kind run/);
});
