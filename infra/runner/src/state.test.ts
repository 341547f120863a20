import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newState, stateFile } from './state.ts';

const id = 'i-0123456789abcdef0';
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-state-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test('is read by the next program as it was written', async () => {
  const restored = {
    outcome: 'previous',
    id: 's1',
    broken: { id: 's2', reason: 'x', frame: { object: 's1', offset: 7 } },
    fetchedBytes: 5,
    seconds: 1,
  } as const;
  const state = {
    ...newState(id, 5),
    phase: 'ready',
    pendingReport: { report: 'Runner Ready' },
    restored,
  } as const;
  await stateFile(directory).write(state);
  expect(await stateFile(directory).read(id)).toEqual(state);
});

test('of another instance is ignored: an image can be made from a runner', async () => {
  await stateFile(directory).write(newState(id, 5));
  expect(await stateFile(directory).read('i-0fedcba9876543210')).toBeUndefined();
});

test.each(['', '{', '{"version":2}', 'null'])('that is broken (%j) is ignored', async (text) => {
  writeFileSync(join(directory, 'runner.json'), text);
  expect(await stateFile(directory).read(id)).toBeUndefined();
});

test('that cannot be read for another reason is an error, not a first boot', async () => {
  await expect(stateFile(join(directory, 'file\0')).read(id)).rejects.toThrow();
});

test('concurrent changes are all kept, and no reader gets half a file', async () => {
  const file = stateFile(directory);
  await file.write(newState(id, 5));
  const changes = Array.from({ length: 20 }, (_, index) =>
    index % 2 === 0 ? file.update(id, { since: index }) : file.update(id, { warmingRun: 'saved' }),
  );
  for (let read = 0; read < 50; read += 1) JSON.parse(readFileSync(join(directory, 'runner.json'), 'utf8'));
  await Promise.all(changes);
  expect(await file.read(id)).toMatchObject({ since: 18, warmingRun: 'saved' });
});
