import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { buildLocalRunner, buildRunner } from './runner.ts';

const root = resolve(import.meta.dirname, '../..');

test('the shipped program contains no simulated agent; the one of the local cloud does', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-build-runner-'));
  try {
    const [shipped, local] = await Promise.all([buildRunner(root, folder), buildLocalRunner(root, folder)]);
    expect(readFileSync(shipped, 'utf8')).not.toMatch(/simulated/i);
    expect(readFileSync(local, 'utf8')).toMatch(/simulated/i);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
