import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { buildLocalRunner, buildRunner } from './runner.ts';

const root = resolve(import.meta.dirname, '../..');

test('the shipped program runs agents with systemd alone; that of the local cloud without it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-build-runner-'));
  try {
    const [shipped, local] = await Promise.all([buildRunner(root, folder), buildLocalRunner(root, folder)]);
    const uses = (file: string) => {
      const code = readFileSync(file, 'utf8');
      // A property of the units of agents alone: a lazy start has a unit where an instance has systemd.
      return { systemd: code.includes('OOMPolicy=continue'), local: code.includes('HEARTH_LOCAL_RUN') };
    };
    expect(uses(shipped)).toEqual({ systemd: true, local: false });
    expect(uses(local)).toEqual({ systemd: false, local: true });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
