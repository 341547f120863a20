import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { agentProgram } from './program-files.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-programs-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('a version is installed once, and what killed ones have left of an installation is removed', async () => {
  const text = '#!/bin/sh\n';
  const url = `data:,${encodeURIComponent(text)}`;
  const sha256 = createHash('sha256').update(text).digest('hex');
  for (const name of ['.gha-0123456789ab', '.bk-0123456789ab']) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, '.archive'), 'the first bytes');
  }
  const lines: string[] = [];
  const program = agentProgram(
    { directory: join(folder, 'gha'), program: { version: '1', url, sha256 } },
    'bin/agent',
    (line) => lines.push(line),
  );
  for (let start = 0; start < 2; start += 1) {
    const { executable } = await program.ensure(undefined, AbortSignal.timeout(60_000));
    expect(readFileSync(executable, 'utf8')).toBe(text);
  }
  expect(lines).toEqual(['agent: installed version 1']);
  // Those of another provider are not touched.
  expect(readdirSync(folder).sort()).toEqual(['.bk-0123456789ab', 'gha-1']);
});
