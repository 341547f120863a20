import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { removeEverything } from '../../infra/runner/src/snapshot/remove-everything.ts';
import { whyMissing } from '../support/packages.ts';
import { startWorld, type World } from '../support/snapshots.ts';

const reason = await whyMissing({ 'mkfs.xfs': 'xfsprogs', mke2fs: 'e2fsprogs', git: 'git' });
if (reason) console.warn(`the tests of tools on restored snapshots are skipped: ${reason}`);

const whyNot = (program: string) =>
  spawnSync(program, ['--help'], { stdio: 'ignore' }).error ? `${program} is not installed` : undefined;

/** What build tools find in a restored tree: inode numbers, ctimes and nanoseconds are those of the warming run. */
describe.skipIf(reason !== undefined)('after a restore on another disk', () => {
  let world: World;
  let directories: Directories;
  beforeEach(async () => {
    world = await startWorld();
    directories = world.instance('runner');
    await world.restore(directories);
  });
  afterEach(() => world.close());

  const shell = (script: string, env: Record<string, string> = {}) =>
    execFileSync('bash', ['-euc', script], {
      cwd: directories.warm,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });

  /** Every instance has the warm directory at the same path. */
  async function moveToAnotherDisk(): Promise<void> {
    await world.saveAndPromote(directories);
    await removeEverything(directories);
    expect(await world.restore(directories)).toMatchObject({ outcome: 'restored' });
  }

  test('git sees a clean checkout without reading a file', async () => {
    shell(
      `git init -q . && for i in $(seq 100); do echo $i >file-$i; done && git add .
       git -c user.name=a -c user.email=a@b commit -qm x && git update-index -q --refresh`,
    );
    await moveToAnotherDisk();
    shell('git diff-index --quiet HEAD');
    // All of it is refreshed without a look at content.
    expect(
      shell('GIT_TRACE_PERFORMANCE=1 git diff-files --quiet 2>&1; echo $?').trim().split('\n').at(-1),
    ).toBe('0');
  });

  test.skipIf(whyNot('go'))(
    'go test is cached, also if it opens files of the tree; nothing is built again',
    async () => {
      mkdirSync(join(directories.warm, 'module/testdata'), { recursive: true });
      writeFileSync(join(directories.warm, 'module/go.mod'), 'module example.com/m\n\ngo 1.21\n');
      writeFileSync(join(directories.warm, 'module/testdata/file'), 'content');
      writeFileSync(
        join(directories.warm, 'module/m_test.go'),
        'package m\nimport ("os"; "testing")\nfunc TestFile(t *testing.T) { if _, err := os.ReadFile("testdata/file"); err != nil { t.Fatal(err) } }\n',
      );
      const env = { GOCACHE: join(directories.warm, 'go-cache'), GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local' };
      shell('cd module && go test ./...', env);
      expect(shell('cd module && go test ./...', env)).toContain('(cached)');
      const { uploadedBytes } = await world.saveAndPromote(directories);
      await moveToAnotherDisk();
      expect(shell('cd module && go test ./...', env)).toContain('(cached)');
      // Go refreshes the times of its cache; the next save sends hardly anything for it.
      const next = await world.save(directories);
      expect(next.uploadedBytes).toBeLessThan(uploadedBytes * 0.02);
    },
  );

  test.skipIf(whyNot('cargo'))('cargo has nothing to do', async () => {
    mkdirSync(join(directories.warm, 'crate/src'), { recursive: true });
    writeFileSync(
      join(directories.warm, 'crate/Cargo.toml'),
      '[package]\nname = "c"\nversion = "0.1.0"\nedition = "2021"\n',
    );
    // Within one clock second of the build: only nanoseconds show that the source is older.
    shell('cd crate && echo "fn main() {}" >src/main.rs && cargo build -q --offline');
    await moveToAnotherDisk();
    const again = shell('cd crate && cargo build -v --offline 2>&1');
    expect(again).toContain('Fresh c');
    expect(again).not.toContain('Compiling');
  });
});
