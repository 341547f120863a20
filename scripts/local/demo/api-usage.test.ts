import { describe, expect, test } from 'vitest';
import type { RecordedRequest } from '../ci/http.ts';
import { buildkiteUsage, circleciUsage, githubUsage } from './api-usage.ts';

const call = (
  second: number,
  method: string,
  path: string,
  change: Partial<RecordedRequest> = {},
): RecordedRequest => ({
  at: second * 1000,
  method,
  path,
  query: '',
  caller: 'installation 1',
  status: 200,
  ...change,
});
const many = (count: number, make: (index: number) => RecordedRequest) =>
  Array.from({ length: count }, (_, index) => make(index));

const REPOSITORY = '/repos/acme/monorepo/actions';

describe('GitHub', () => {
  test('counts each call in its limit, and none of the listeners', () => {
    const { text, exceeded } = githubUsage([
      call(0, 'GET', `${REPOSITORY}/runs`),
      call(20, 'GET', `${REPOSITORY}/runs`, { status: 304 }),
      call(21, 'GET', `${REPOSITORY}/runs/7/jobs`),
      call(21, 'GET', `${REPOSITORY}/runs/8/jobs`),
      call(22, 'PUT', `${REPOSITORY}/runners/5/labels`),
      call(30, 'POST', `${REPOSITORY}/runners/generate-jitconfig`, { status: 201 }),
      call(31, 'GET', '/_listener/sessions/1/message'),
    ]);
    expect(text).toBe('4 of 5,000 calls per hour, 5 of 900 points per minute, 1 of 1,500 registrations');
    expect(exceeded).toEqual([]);
  });

  test('a limit that is exceeded, and a refusal', () => {
    const writes = many(181, (index) => call(index / 10, 'PUT', `${REPOSITORY}/runners/${index}/labels`));
    expect(githubUsage([...writes, call(90, 'GET', '/x', { status: 403 })]).exceeded).toEqual([
      '905 of 900 points per minute',
      '1 calls refused for the rate',
    ]);
    const apart = many(181, (index) => call(index * 2, 'PUT', `${REPOSITORY}/runners/${index}/labels`));
    expect(githubUsage(apart).exceeded).toEqual([]);
  });
});

describe('Buildkite', () => {
  test('the time between two answered polls', () => {
    const { text, exceeded } = buildkiteUsage(
      [
        call(0, 'GET', '/v3/metrics'),
        call(15, 'GET', '/v3/metrics', { status: 503 }),
        call(20, 'GET', '/v3/metrics'),
        call(21, 'POST', '/v3/register'),
        call(22, 'GET', '/v3/ping'),
      ],
      10,
    );
    expect(text).toBe('3 polls, 1 registrations, at least 20.0 s apart (limit 10 s)');
    expect(exceeded).toEqual([]);
  });

  test('polls that are too close', () => {
    const polls = [call(0, 'GET', '/v3/metrics'), call(9, 'GET', '/v3/metrics')];
    expect(buildkiteUsage(polls, 10).exceeded).toEqual(['at least 9.0 s apart (limit 10 s)']);
  });
});

describe('CircleCI', () => {
  test('each class by itself, against its own scaler', () => {
    const tasks = (second: number, name: string) =>
      call(second, 'GET', '/api/v3/runner/tasks', { query: `?resource-class=${name}` });
    const calls = [
      tasks(0, 'acme/a'),
      tasks(1, 'acme/b'),
      tasks(20, 'acme/a'),
      call(0, 'POST', '/_agent/claim'),
    ];
    expect(circleciUsage(calls)).toEqual({
      text: "3 calls, 2 of 24 per minute and class of CircleCI's scaler",
      exceeded: [],
    });
    const often = many(25, (index) => tasks(index, 'acme/b'));
    expect(circleciUsage([...calls, ...often]).exceeded).toHaveLength(1);
    expect(circleciUsage([]).exceeded).toEqual([]);
  });
});
