import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CloudWatchLogsClient } from '@aws-sdk/client-cloudwatch-logs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { fireSchedule } from '../../scripts/local/deploy/fire-schedule.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { parseEvent } from '../../scripts/timeline/events.ts';
import { type Fleet, foldEvents } from '../../scripts/timeline/fleet.ts';
import { readLogs } from '../../scripts/timeline/sources/cloudwatch.ts';
import { readRecording, writeRecording } from '../../scripts/timeline/sources/local-run.ts';
import { localFleet, PATIENCE_SECONDS } from '../support/local-fleet.ts';
import { HOSTILE_NAME } from '../support/timeline-events.ts';

/**
 * One small day, read twice: from the recording of the local cloud, and from the log lines of the functions. MiniStack stores what a
 * function prints, and answers FilterLogEvents; it has no pages, which the unit tests of the reader have. The logs of runners do not
 * reach it.
 */
const GROUP = { provider: 'bk', name: 'default' } as const;

const patience = { seconds: PATIENCE_SECONDS };
let cloud: Cloud;
let folder: string;
const startedAt = new Date();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hearth-timeline-'));
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration', 'scaling'],
    groups: [{ ...GROUP, min: 0, max: 2, runner: { heartbeatSeconds: 2 } }],
    isScaled: true,
  });
  const fleet = localFleet(cloud);
  const job = cloud.providers.buildkite.queueJob({
    command: 'sleep 3',
    queue: GROUP.name,
    name: HOSTILE_NAME,
  });
  await fireSchedule(cloud.clients.scheduler, cloud.schedules, scalingSchedule());
  await waitFor('the first scale-out', () => cloud.gateway.calls.all.some(isScaleOut), {
    ...patience,
    state: () => cloud.gateway.functions.lines.all.slice(-5),
  });
  await waitFor(
    'the end of the job',
    () => cloud.providers.jobs('bk').find(({ id }) => id === job.id)?.result,
    patience,
  );
  await fleet.setDesired(GROUP, 0);
  await fleet.untilGone(GROUP);
}, 1_800_000);
afterAll(async () => {
  await cloud?.stop();
  await rm(folder, { recursive: true, force: true });
});

const isScaleOut = ({ operation, caller }: { operation: string; caller: string }) =>
  operation === 'SetDesiredCapacity' && caller === 'scaling';

function scalingSchedule(): string {
  const found = cloud.schedules.find((one) => one.name.includes('scaling'));
  if (!found) throw new Error(`no schedule of scaling: ${JSON.stringify(cloud.schedules)}`);
  return found.name;
}

async function fromLogs(): Promise<Fleet> {
  const logs = new CloudWatchLogsClient({
    endpoint: cloud.url,
    region: cloud.descriptor.region,
    credentials: cloud.descriptor,
  });
  try {
    const range = { from: startedAt.getTime(), to: Date.now() };
    const events = await readLogs(logs, { prefix: 'aw', ...range, withRunners: true, progress() {} });
    return foldEvents(events.map((event) => parseEvent(event, 'logs')));
  } finally {
    logs.destroy();
  }
}

test('the recording and the logs show the same runner, each with what it has', async () => {
  const file = join(folder, 'day.jsonl');
  const hasEnded = ({ groups }: Fleet) => {
    const runner = groups[0]?.runners[0];
    return runner?.drainAt !== undefined && runner.endedAt !== undefined;
  };
  // What aw-runner printed last can come after the end of its instance.
  const recorded = await waitFor(
    'the recording of the end of the runner',
    async () => {
      await writeRecording(file, cloud, 'a small day', startedAt);
      const fleet = foldEvents((await readRecording(file)).map((event) => parseEvent(event, file)));
      return hasEnded(fleet) && fleet;
    },
    { ...patience, state: () => cloud.runners.lines.all.slice(-5) },
  );
  // The log of an invocation follows its effect.
  const logged = await waitFor(
    'the logs of the end of the runner',
    async () => {
      const fleet = await fromLogs();
      return hasEnded(fleet) && fleet;
    },
    { ...patience, state: () => cloud.gateway.functions.lines.all.slice(-5) },
  );
  for (const fleet of [recorded, logged]) {
    expect(fleet.groups.map(({ id, runners }) => [id, runners.length])).toEqual([['bk/default', 1]]);
    const [group] = fleet.groups;
    const [runner] = group?.runners ?? [];
    const { launchedAt = 0, inServiceAt = 0, drainAt = 0, endedAt = 0 } = runner ?? {};
    expect(startedAt.getTime()).toBeLessThan(launchedAt);
    expect(launchedAt).toBeLessThan(inServiceAt);
    expect(inServiceAt).toBeLessThan(drainAt);
    expect(drainAt).toBeLessThanOrEqual(endedAt);
    expect(runner?.restore?.outcome).toBe('none');
    const desired = group?.desired.map(([, value]) => value);
    // Between two polls the logs do not know the desired capacity.
    if (fleet === recorded) expect(desired).toEqual([0, 1, 0]);
    else expect(desired?.[0]).toBe(1);
    expect(Math.max(...(group?.queued.map(([, value]) => value) ?? []))).toBe(1);
  }
  const [job] = recorded.groups[0]?.runners[0]?.jobs ?? [];
  expect(job).toMatchObject({ name: HOSTILE_NAME, result: 'succeeded' });
  expect(recorded.figures.waitP50).toBeGreaterThan(0);
  expect(logged.groups[0]?.runners[0]?.id).toBe(recorded.groups[0]?.runners[0]?.id);
  // Both know the launch; the logs know it by the length of the boot that the runner measured.
  const launches = [recorded, logged].map(({ groups }) => groups[0]?.runners[0]?.launchedAt ?? 0);
  expect(Math.abs((launches[0] ?? 0) - (launches[1] ?? 0))).toBeLessThan(60_000);
});
