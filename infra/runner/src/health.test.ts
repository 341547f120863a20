import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { healthProblem, instanceHealth, jobFinished, markUnhealthy } from './health.ts';

vi.mock('node:fs/promises', async (original) => {
  const actual = await original<typeof import('node:fs/promises')>();
  return { ...actual, statfs: vi.fn(actual.statfs) };
});

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-health-'));
});
afterEach(() => {
  vi.mocked(statfs).mockReset();
  rmSync(directory, { recursive: true });
});

const problem = (state = directory) => healthProblem(state, [directory]);
const real = () => statfsSync(directory);

describe('the mark of a job', () => {
  beforeEach(() => {
    vi.mocked(statfs).mockImplementation(async () => ({
      ...real(),
      blocks: 100,
      bavail: 50,
      ffree: 50,
      files: 100,
    }));
  });

  test.each([36, 37])('Bazel exit %i marks the instance until it is replaced', async (code) => {
    expect(await jobFinished(directory, code)).toContain(String(code));
    expect(await problem()).toContain(String(code));
    await jobFinished(directory, 0);
    expect(await problem()).toContain(String(code));
  });

  test.each([0, 1, 3, 4, 8, 34, 35, 38, 130, Number.NaN])('exit %d does not', async (code) => {
    expect(await jobFinished(directory, code)).toBeUndefined();
    expect(await problem()).toBeUndefined();
  });

  test('creates the state directory', async () => {
    const state = join(directory, 'not', 'yet');
    await markUnhealthy(state, 'warming run failed');
    expect(await problem(state)).toBe('warming run failed');
  });

  test('is kept in memory if the disk does not take it', async () => {
    const lines: string[] = [];
    const health = instanceHealth('/dev/full/state', [], (line) => lines.push(line));
    await health.mark('x').catch(() => undefined);
    expect(await health.problem()).toBe('x');
  });
});

describe('disks', () => {
  const disk = (bavail: number, ffree = 50) => ({ ...real(), blocks: 100, bavail, files: 100, ffree });

  test('each is watched: the one of the state and the one of the images', async () => {
    const [root, images] = [join(directory, 'state'), join(directory, 'images')];
    for (const full of [root, images]) {
      vi.mocked(statfs).mockImplementation(async (path) => disk(path === full ? 1 : 50));
      expect(await healthProblem(directory, [root, images])).toBe(`disk full: 1.0 % free at ${full}`);
    }
  });

  test('without free inodes count as full; a file system without a number of inodes does not', async () => {
    vi.mocked(statfs).mockResolvedValue(disk(50, 1));
    expect(await problem()).toContain('1.0 % of the inodes free');
    vi.mocked(statfs).mockResolvedValue({ ...disk(50), files: 0, ffree: 0 });
    expect(await problem()).toBeUndefined();
  });

  test('a directory that does not exist yet is checked at its nearest parent', async () => {
    const actual = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
    const asked: string[] = [];
    vi.mocked(statfs).mockImplementation(async (path) => {
      asked.push(String(path));
      await actual.statfs(path);
      return disk(1);
    });
    expect(await healthProblem(directory, [join(directory, 'aw/images')])).toContain('disk full');
    expect(asked).toEqual([join(directory, 'aw/images'), join(directory, 'aw'), directory]);
  });
});
