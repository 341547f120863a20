import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { chunksOf, IncompleteTree, packTree } from './pack.ts';

const GIB = 2 ** 30;
const NOBODY = 65534;

test.each([1, 156 * GIB, 200 * GIB, 600 * GIB])('%d bytes have at most 10,000 chunks', (bytes) => {
  const { chunkBytes, starts } = chunksOf(bytes);
  expect(starts.length).toBeLessThanOrEqual(10_000);
  expect(starts.length * chunkBytes).toBeGreaterThanOrEqual(bytes);
});

describe.skipIf(process.getuid?.() !== 0)('a file that mksquashfs cannot read', () => {
  let folder: string;
  let tree: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'hearth-pack-'));
    tree = join(folder, 'tree');
    mkdirSync(tree);
    writeFileSync(join(tree, 'readable'), 'yes');
    writeFileSync(join(tree, 'secret'), 'no');
    chmodSync(join(tree, 'secret'), 0o600);
    chownSync(folder, NOBODY, NOBODY);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });

  /** The real program with the rights of another user, and a command after it. */
  function withoutRights(after = 'true'): void {
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    const real = execFileSync('sh', ['-c', 'command -v mksquashfs'], { encoding: 'utf8' }).trim();
    const drop = `setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups`;
    writeFileSync(
      join(bin, 'mksquashfs'),
      `#!/bin/sh\n${drop} ${real} "$@"\ncode=$?\n${after}\nexit $code\n`,
    );
    chmodSync(join(bin, 'mksquashfs'), 0o755);
    vi.stubEnv('PATH', `${bin}:${process.env.PATH}`);
  }

  test('fails the save, and is named', async () => {
    withoutRights();
    const packing = packTree(tree, join(folder, 'packed.sqfs'));
    await expect(packing).rejects.toThrow(IncompleteTree);
    await expect(packing).rejects.toThrow(`Failed to read file ${join(tree, 'secret')}`);
  });

  test('and that is gone in the next attempt does not', async () => {
    withoutRights(`rm -f ${join(tree, 'secret')}`);
    const { file } = await packTree(tree, join(folder, 'packed.sqfs'));
    const listing = execFileSync('unsquashfs', ['-l', '-d', '', file], { encoding: 'utf8' });
    expect(
      listing
        .trim()
        .split('\n')
        .filter((name) => name.startsWith('/')),
    ).toEqual(['/readable']);
  });
});

describe('a save that is stopped', () => {
  test('does not pack', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hearth-pack-'));
    const stopped = AbortSignal.abort(new Error('the program stops'));
    await expect(packTree(folder, join(folder, 'x', 'packed.sqfs'), stopped)).rejects.toThrow(
      'the program stops',
    );
    rmSync(folder, { recursive: true });
  });
});
