import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { execute } from '../../infra/runner/src/child-process.ts';
import { parseCheckout } from '../../infra/runner/src/config.ts';
import { restoreSnapshot, sweepJobTrees } from '../../infra/runner/src/snapshot/index.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { checkOut, resetCheckout } from '../../infra/runner/src/warming/checkout.ts';
import { type GitServer, startGitServer } from '../support/git-server.ts';
import { whyMissing } from '../support/packages.ts';
import { startWorld, type World } from '../support/snapshots.ts';

const reason = await whyMissing({ 'mkfs.xfs': 'xfsprogs', mke2fs: 'e2fsprogs', git: 'git' });
if (reason) console.warn(`the tests of a checkout in a snapshot are skipped: ${reason}`);

const FOLDER = `/var/tmp/hearth-checkout-${process.pid}`;
const USER = 'nobody';
/** What a private repository is fetched with. */
const PASSWORD = `pass-${randomBytes(12).toString('hex')}`;
/** Bytes of the history that is warm. */
const HISTORY = 2_000_000;

/**
 * What each provider's own checkout runs in a directory that has a repository, with its default settings. The commands are those
 * of actions/checkout v4 (git-source-provider.ts, git-directory-helper.ts), buildkite-agent v3 (internal/job/checkout.go) and the
 * step `checkout` of CircleCI.
 */
const PROVIDERS = {
  gha: (url: string, sha: string, depth = 1) => `
if [ "$(git config --local --get remote.origin.url)" != "${url}" ]; then find . -mindepth 1 -delete; fi
if [ -d .git ]; then
  rm -f .git/index.lock .git/shallow.lock
  git symbolic-ref -q HEAD >/dev/null && git checkout --detach
  git for-each-ref --format='%(refname)' refs/heads refs/remotes | while read -r ref; do git update-ref -d "$ref"; done
  git clean -ffdx; git reset --hard HEAD
else git init .; git remote add origin ${url}; fi
git config --local gc.auto 0
git config --local http.${new URL(url).origin}/.extraheader "AUTHORIZATION: basic $BASIC"
if [ ${depth} -gt 0 ]; then git fetch --no-tags --prune --no-recurse-submodules --depth=${depth} origin +${sha}:refs/remotes/origin/main
else git fetch --prune --no-recurse-submodules $(test -f .git/shallow && echo --unshallow) origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'; fi
git checkout --progress --force -B main ${depth > 0 ? 'refs/remotes/origin/main' : sha}
git config --local --unset-all http.${new URL(url).origin}/.extraheader`,
  bk: (url: string, sha: string) => `
git config --global credential.helper '!f() { echo username=x-access-token; echo password=$PASSWORD; }; f'
if [ -d .git ]; then git remote set-url origin ${url}; else git clone -v -- ${url} .; fi
git clean -ffxdq
git fetch -v --prune -- origin ${sha}
git checkout -f ${sha}
git clean -ffxdq`,
  cci: (url: string, sha: string) => `
git config --global credential.helper '!f() { echo username=x-access-token; echo password=$PASSWORD; }; f'
if [ -e .git ]; then git remote set-url origin ${url}; git fetch --force origin '+refs/heads/*:refs/remotes/origin/*' || exit 1
else git clone ${url} .; fi
git reset --hard ${sha}
git checkout -q -B main
git reset --hard ${sha}`,
};
type Provider = keyof typeof PROVIDERS;

describe.skipIf(reason !== undefined)('a checkout in a snapshot', () => {
  let world: World;
  let server: GitServer;
  let current: Directories | undefined;
  beforeEach(async () => {
    world = await startWorld();
    rmSync(FOLDER, { recursive: true, force: true });
    for (const name of ['', 'git', 'home']) mkdirSync(path(name), { recursive: true });
    execFileSync('chown', [USER, path('home')]);
    chmodSync(FOLDER, 0o755);
    server = await startGitServer(path('git'), PASSWORD);
    repository('app');
    commit('app', { history: randomBytes(HISTORY).toString('base64'), '.gitignore': 'out\n' });
    commit('app', { file: 'one' });
  });
  afterEach(async () => {
    await server.close();
    await world.close();
    rmSync(FOLDER, { recursive: true, force: true });
  });

  const path = (name: string) => join(FOLDER, name);
  /** Where jobs check out. */
  const directory = () => path('work/app');
  const inCheckout = (name: string) => join(directory(), name);
  const url = (name = 'app') => `${server.url}/${name}`;

  function git(name: string, ...args: string[]): string {
    const config = ['-c', 'user.name=n', '-c', 'user.email=e@example.com', '-c', 'commit.gpgsign=false'];
    return execFileSync('git', [...config, ...args], {
      cwd: path(`git/${name}`),
      encoding: 'utf8',
      stdio: 'pipe',
    }).trim();
  }
  function repository(name: string): void {
    mkdirSync(path(`git/${name}`));
    git(name, 'init', '-q', '-b', 'main');
    git(name, 'config', 'receive.denyCurrentBranch', 'ignore');
  }
  function commit(name: string, files: Record<string, string>): string {
    for (const [file, content] of Object.entries(files)) writeFileSync(path(`git/${name}/${file}`), content);
    git(name, 'add', '-A');
    git(name, 'commit', '-qm', 'change');
    return git(name, 'rev-parse', 'HEAD');
  }

  /** The next instance: nothing of the last one is left on it. */
  async function boot(name: string): Promise<void> {
    if (current) await sweepJobTrees(current, (line) => expect.fail(line));
    rmSync(path('work'), { recursive: true, force: true });
    current = { ...world.instance(name), paths: [directory()], owner: USER };
    const options = { s3: world.s3, bucket: 'b', set: 'default', directories: current };
    await restoreSnapshot(options);
  }

  /** A warming run of the provider's group on one instance, and the boot of another one. */
  async function warm(provider: Provider, change: object = {}, command = () => {}): Promise<void> {
    await boot(`maker-${world.snapshots().length}`);
    const helper = path('credentials');
    writeFileSync(helper, `#!/bin/sh\necho username=x-access-token\necho password=${PASSWORD}\n`, {
      mode: 0o700,
    });
    const settings = parseCheckout({
      directory: directory(),
      repository: url(),
      credentialCommand: [helper],
      ...change,
    });
    const run = { provider, user: USER, signal: AbortSignal.timeout(600_000), log: () => {} };
    await checkOut(settings, run);
    command();
    await resetCheckout(settings, run);
    if (current) await world.saveAndPromote(current);
    await boot(`runner-${world.snapshots().length}`);
    server.takeBytes();
  }

  /** Runs the provider's own commands as the user of jobs. @returns bytes that were fetched */
  async function job(script: string): Promise<number> {
    await execute(
      'runuser',
      [
        '-u',
        USER,
        '--',
        'env',
        `HOME=${path('home')}`,
        'sh',
        '-euc',
        `${script}\ngit status --porcelain >"$HOME/status"`,
      ],
      {
        cwd: directory(),
        env: {
          PATH: process.env.PATH,
          PASSWORD,
          BASIC: Buffer.from(`x-access-token:${PASSWORD}`).toString('base64'),
          GIT_TERMINAL_PROMPT: '0',
        },
      },
    );
    expect(readFileSync(path('home/status'), 'utf8')).toBe('');
    return server.takeBytes();
  }
  const head = () =>
    execFileSync('git', ['-c', 'safe.directory=*', 'log', '--format=%H'], {
      cwd: directory(),
      encoding: 'utf8',
    })
      .trim()
      .split('\n');

  test.each(Object.entries(PROVIDERS))(
    'the checkout of %s fetches what is newer, and no more',
    async (name, script) => {
      await warm(name as Provider);
      const sha = commit('app', { file: 'two' });
      expect(await job(script(url(), sha))).toBeLessThan(HISTORY / 100);
      expect(head()[0]).toBe(sha);
      expect(readFileSync(inCheckout('file'), 'utf8')).toBe('two');

      // A branch that was pushed with force: the commit that is warm is not in its history.
      git('app', 'reset', '-q', '--hard', 'HEAD~2');
      const forced = commit('app', { file: 'forced' });
      expect(await job(script(url(), forced))).toBeLessThan(HISTORY / 100);
      expect(head()[0]).toBe(forced);
    },
  );

  test('a workflow of GitHub that asks for the whole history gets it, and one for one commit works on the whole history', async () => {
    await warm('gha');
    const sha = commit('app', { file: 'two' });
    await job(PROVIDERS.gha(url(), sha, 0));
    expect(head()).toHaveLength(3);
    await warm('gha', { depth: 0 });
    const next = commit('app', { file: 'three' });
    expect(await job(PROVIDERS.gha(url(), next))).toBeLessThan(HISTORY / 100);
    expect(head()[0]).toBe(next);
  });

  test('another repository in the same directory replaces it', async () => {
    repository('other');
    const sha = commit('other', { README: 'other' });
    await warm('gha');
    await job(PROVIDERS.gha(url('other'), sha));
    expect(head()).toEqual([sha]);
    expect(existsSync(inCheckout('file'))).toBe(false);
    await boot('again');
    await job(PROVIDERS.bk(url('other'), sha));
    expect(readFileSync(inCheckout('README'), 'utf8')).toBe('other');
  });

  test('submodules and pointers of LFS are as in a new clone', async () => {
    repository('library');
    commit('library', { header: '1' });
    git('app', '-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', path('git/library'), 'lib');
    writeFileSync(path('git/app/.gitmodules'), '[submodule "lib"]\n\tpath = lib\n\turl = ../library\n');
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n';
    commit('app', { '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n', 'asset.bin': pointer });
    await warm('gha', { submodules: true });
    expect(readFileSync(inCheckout('lib/header'), 'utf8')).toBe('1');
    const sha = commit('app', { file: 'two' });
    const submodules = `git -c protocol.version=2 submodule sync; git -c credential.helper='!f() { echo username=x-access-token; echo password=$PASSWORD; }; f' submodule update --init --force --depth=1`;
    expect(await job(`${PROVIDERS.gha(url(), sha)}\n${submodules}`)).toBeLessThan(HISTORY / 100);
    expect(readFileSync(inCheckout('lib/header'), 'utf8')).toBe('1');
    expect(readFileSync(inCheckout('asset.bin'), 'utf8')).toBe(pointer);
  });

  test('no credential of a run is in the image, also if the command has written one, and ignored files are', async () => {
    await warm('gha', {}, () => {
      writeFileSync(inCheckout('.git/config'), `[http]\n\textraheader = ${PASSWORD}\n`, { flag: 'a' });
      mkdirSync(inCheckout('out'));
      writeFileSync(inCheckout('out/artifact'), 'built');
    });
    expect(readFileSync(inCheckout('out/artifact'), 'utf8')).toBe('built');
    // The image is sparse: grep skips holes.
    const found = (what: string) =>
      execFileSync('sh', ['-c', 'grep -c -F "$2" "$1"/base/*.img || :', 'sh', current?.images ?? '', what], {
        encoding: 'utf8',
      }).trim();
    expect(found('built')).not.toBe('0');
    for (const secret of [PASSWORD, Buffer.from(`x-access-token:${PASSWORD}`).toString('base64')])
      expect(found(secret)).toBe('0');
  });
});
