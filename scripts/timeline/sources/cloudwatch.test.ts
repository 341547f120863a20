import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CloudWatchLogsClient } from '@aws-sdk/client-cloudwatch-logs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { foldEvents } from '../fleet.ts';
import { readLogs } from './cloudwatch.ts';

/** FilterLogEvents as AWS answers it: pages of a few events, and pages without any that still have a next one. */
const ID = 'i-0123456789abcdef0';
const FROM = Date.parse('2026-11-23T08:00:00Z');

type LogEvent = { timestamp: number; message: string; logStreamName: string };

let server: Server;
let client: CloudWatchLogsClient;
let groups: Map<string, LogEvent[]>;
let requests: { logGroupName: string; nextToken?: string; startTime: number; endTime: number }[];
let throttled: number;
let refusal: string | undefined;

beforeEach(async () => {
  groups = new Map();
  requests = [];
  throttled = 0;
  refusal = undefined;
  server = createServer(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    const body = JSON.parse(text);
    requests.push(body);
    const refuse = (code: string) =>
      void response
        .writeHead(400, { 'content-type': 'application/x-amz-json-1.1' })
        .end(JSON.stringify({ __type: code }));
    if (throttled > 0) {
      throttled -= 1;
      refuse('ThrottlingException');
      return;
    }
    if (refusal !== undefined) {
      refuse(refusal);
      return;
    }
    const events = groups.get(body.logGroupName);
    if (!events) {
      refuse('ResourceNotFoundException');
      return;
    }
    const page = Number(body.nextToken ?? 0);
    const found = page % 2 === 1 ? [] : events.slice(page, page + 2);
    const next = page + 1 < events.length + 1 ? { nextToken: String(page + 1) } : {};
    response
      .writeHead(200, { 'content-type': 'application/x-amz-json-1.1' })
      .end(JSON.stringify({ events: found, ...next }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  client = new CloudWatchLogsClient({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'us-west-2',
    credentials: { accessKeyId: 'LKIATEST', secretAccessKey: 'local' },
    maxAttempts: 5,
  });
});
afterEach(async () => {
  client.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const report = (name: string, second: number, fields: object = {}) => ({
  timestamp: FROM + second * 1000,
  logStreamName: '2026/11/23/[$LATEST]0',
  message: `${JSON.stringify({
    service: 'lifecycle',
    message: 'record handled',
    timestamp: new Date(FROM + second * 1000).toISOString(),
    record: { messageId: 'm', outcome: 'done' },
    report: {
      report: name,
      group: 'gha/default',
      instanceId: ID,
      autoScalingGroup: 'aw-gha-default',
      at: new Date(FROM + second * 1000).toISOString(),
      ...fields,
    },
  })}\n`,
});
const line = (second: number, text: string, logStreamName = `aw-gha-default/${ID}/aw-runner`) => ({
  timestamp: FROM + second * 1000,
  logStreamName,
  message: `${new Date(FROM + second * 1000).toISOString()} ${text}`,
});

const read = (change: object = {}) => {
  const progress: string[] = [];
  const options = { prefix: 'aw', from: FROM, to: FROM + 100_000, withRunners: true, ...change };
  return readLogs(client, { ...options, progress: (text) => progress.push(text) }).then((events) => ({
    events,
    progress,
  }));
};

test('every page of the functions and of the runners', async () => {
  groups.set('aw_lifecycle', [
    report('Runner Ready', 30, {
      snapshot: { set: 'default', outcome: 'restored', id: 's1' },
      seconds: { restore: 2, boot: 20 },
    }),
    { timestamp: FROM, logStreamName: 'x', message: 'START RequestId: 1' },
    report('Runner Idle', 80, { idleSeconds: 5 }),
    report('Runner Drained', 90, { seconds: { drain: 9 } }),
  ]);
  groups.set('aw_runners', [
    line(40, `agent ${ID}-1 has the job "build"`),
    line(41, 'agent i-1 has the job "elsewhere"', 'other-gha-default/i-0aaaaaaaaaaaaaaaa/aw-runner'),
    line(60, `agent ${ID}-1 ended with 0 after its job`),
  ]);
  throttled = 2;
  const { events, progress } = await read();
  const fleet = foldEvents(events);
  expect(fleet.groups).toMatchObject([
    {
      id: 'gha/default',
      runners: [
        {
          id: ID,
          launchedAt: FROM + 10_000,
          inServiceAt: FROM + 30_000,
          drainAt: FROM + 80_000,
          endedAt: FROM + 90_000,
          jobs: [{ name: 'build', startedAt: FROM + 40_000, finishedAt: FROM + 60_000 }],
        },
      ],
    },
  ]);
  expect(progress).toContain('aw_lifecycle: 4 lines');
  expect(progress).toContain('aw_scaling: there is no such log group');
  expect(requests.every(({ startTime, endTime }) => startTime === FROM && endTime === FROM + 100_000)).toBe(
    true,
  );
  expect(requests.filter(({ logGroupName }) => logGroupName === 'aw_lifecycle').at(-1)).toHaveProperty(
    'nextToken',
  );
});

test('without runners their logs are not read', async () => {
  groups.set('aw_lifecycle', []);
  groups.set('aw_runners', [line(40, `agent ${ID}-1 has the job "build"`)]);
  const { events } = await read({ withRunners: false });
  expect(foldEvents(events).figures.jobs).toBe(0);
  expect(requests.some(({ logGroupName }) => logGroupName === 'aw_runners')).toBe(false);
});

test('a prefix without log groups is an error that names what to check', async () => {
  await expect(read()).rejects.toThrow(/no log group aw_lifecycle.*region/);
});

test('a log group that cannot be read is an error with what to check', async () => {
  refusal = 'AccessDeniedException';
  await expect(read()).rejects.toThrow(/aw_lifecycle cannot be read: .*AccessDenied.*logs:FilterLogEvents/);
});
