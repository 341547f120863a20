import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { jsonLines, parseEvent } from './events.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'timeline-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('texts of jobs are cut, on one line, and without keys', () => {
  const key = ['AK', 'IA', 'ABCDEFGHIJKLMNOP'].join('');
  const event = parseEvent(
    { event: 'job', id: '1', name: `a\nb\u202ec ${key} ${'x'.repeat(1000)}`, startedAt: 1.6 },
    'test',
  );
  expect(event).toMatchObject({ name: expect.stringMatching(/^a b c \[redacted\] x+$/), startedAt: 2 });
  expect(event.event === 'job' && event.name.length).toBe(300);
});

test.each([
  [{ event: 'job' }, /test is no event of the timeline: id/],
  [{ event: 'launched', at: 1 }, /is no event of the timeline: event/],
  [{ event: 'capacity', at: 1, group: 'gha/a', desired: -1 }, /desired/],
  [{ event: 'launch', at: Number.NaN, group: 'gha/a', runner: 'i-1' }, /at/],
  ['x', /is no event/],
])('%j is refused with its place', (value, message) => {
  expect(() => parseEvent(value, 'test')).toThrow(message);
});

test('a line that is not JSON is named', async () => {
  const file = join(folder, 'a.jsonl');
  await writeFile(file, '{"a":1}\n\n{"b":\n');
  const read = async () => {
    const places: string[] = [];
    for await (const { place } of jsonLines(file)) places.push(place);
    return places;
  };
  await expect(read()).rejects.toThrow(`${file} line 3 is not JSON`);
});
