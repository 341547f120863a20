import { expect, test } from 'vitest';
import { runnerLines } from './runner-lines.ts';

const AT = Date.parse('2026-11-23T08:00:00Z');
const WHO = { runner: 'i-0123456789abcdef0', group: 'gha/default' };

function read(...texts: string[]) {
  const reader = runnerLines();
  const events = texts.flatMap((text, second) =>
    reader.read({ text: `${new Date(AT + second * 1000).toISOString()} ${text}`, ...WHO }, 0),
  );
  return [...events, ...reader.end()];
}

test('a job of an agent that takes one job', () => {
  expect(read('agent i-1-1 has the job "build"', 'agent i-1-1 ended with 0 after its job')).toEqual([
    { event: 'job', id: 'i-1-1', name: 'build', ...WHO, startedAt: AT, finishedAt: AT + 1000 },
  ]);
});

test('jobs of an agent that takes one after the other; the last one runs at the end', () => {
  const lines = read(
    'agent i-1-1 has the job "a"',
    'agent i-1-1: its job has ended',
    'agent i-1-1 has the job "b \\"quoted\\""',
    'agent i-1-1 has the job "c"',
  );
  expect(lines).toMatchObject([
    { id: 'i-1-1', name: 'a', startedAt: AT, finishedAt: AT + 1000 },
    { id: 'i-1-1 2', name: 'b "quoted"', startedAt: AT + 2000, finishedAt: AT + 3000 },
    { id: 'i-1-1 3', name: 'c', startedAt: AT + 3000 },
  ]);
  expect(lines.at(-1)).not.toHaveProperty('finishedAt');
});

test('boots, drains and problems', () => {
  expect(
    read(
      'restored in 3.1 s (20261123T030000Z-0a1b2c3d)',
      'draining: the instance is reclaimed',
      'draining: the instance is terminated',
      'reported: Runner Unhealthy: disk full',
      'boot failed at mount: no space',
    ),
  ).toMatchObject([
    { event: 'restore', outcome: 'restored', seconds: 3.1 },
    { event: 'drain', why: 'Spot interruption' },
    { event: 'drain', at: AT + 2000 },
    { event: 'note', text: 'disk full' },
    { event: 'note', text: 'boot failed at mount: no space' },
  ]);
});

test('other lines, and lines that only look like one', () => {
  expect(read('agent i-1-1 ended with 2 without a job', 'says agent i-1-1 has the job "x"', '')).toEqual([]);
});
