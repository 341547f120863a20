import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Checkout, parseCheckout } from '../config.ts';
import { type CheckoutRun, checkOut, resetCheckout } from './checkout.ts';

let folder: string;
let run: CheckoutRun;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-checkout-'));
  run = { provider: 'bk', user: undefined, signal: new AbortController().signal, log: () => {} };
  mkdirSync(origin());
  git(origin(), 'init', '-q', '-b', 'main');
  commit('one');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const origin = () => join(folder, 'origin');
const directory = () => join(folder, 'deep/checkout');
const inCheckout = (name: string) => join(directory(), name);
const settings = (change: object = {}): Checkout =>
  parseCheckout({ directory: directory(), repository: `file://${origin()}`, ref: 'main', ...change });

function git(cwd: string, ...args: string[]): string {
  const config = ['-c', 'user.name=n', '-c', 'user.email=e@example.com', '-c', 'commit.gpgsign=false'];
  return execFileSync('git', [...config, ...args], { cwd, encoding: 'utf8', stdio: 'pipe' }).trim();
}

function commit(text: string): string {
  writeFileSync(join(origin(), 'file'), text);
  git(origin(), 'add', '.');
  git(origin(), 'commit', '-qm', text);
  return git(origin(), 'rev-parse', 'HEAD');
}

test('checks a ref out, first and again, and leaves what a build has left beside the sources', async () => {
  await checkOut(settings(), run);
  writeFileSync(inCheckout('file'), 'of the run before');
  writeFileSync(inCheckout('output'), 'of the build');
  const sha = commit('two');
  expect(await checkOut(settings(), run)).toBe(sha);
  expect(readFileSync(inCheckout('file'), 'utf8')).toBe('two');
  expect(readFileSync(inCheckout('output'), 'utf8')).toBe('of the build');
  await expect(checkOut(settings({ ref: 'no-such' }), run)).rejects.toThrow(
    "couldn't find remote ref no-such",
  );
});

test.each([
  ['gha', {}, 1],
  ['bk', {}, 3],
  ['cci', {}, 3],
  ['gha', { depth: 0 }, 3],
  ['bk', { depth: 2 }, 2],
])('for %s with %j it has %d commits', async (provider, change, commits) => {
  commit('two');
  commit('three');
  await checkOut(settings(change), { ...run, provider });
  expect(git(directory(), 'rev-list', '--count', 'HEAD')).toBe(String(commits));
});

test('a checkout of one commit becomes one of the whole history', async () => {
  commit('two');
  await checkOut(settings({ depth: 1 }), run);
  await checkOut(settings({ depth: 0 }), run);
  expect(git(directory(), 'rev-list', '--count', 'HEAD')).toBe('2');
});

test.each([
  'index',
  'shallow',
  'config',
  'HEAD',
  'packed-refs',
  'refs/hearth/warm',
  'refs/remotes/origin/main',
])('the lock of %s, which a killed git has left, keeps no run from its checkout', async (name) => {
  await checkOut(settings(), run);
  writeFileSync(inCheckout(`.git/${name}.lock`), '');
  const sha = commit('two');
  expect(await checkOut(settings(), run)).toBe(sha);
});

test('what a command has written to the configuration and the hooks is gone, and none of it runs', async () => {
  const mark = join(folder, 'ran');
  await checkOut(settings(), run);
  mkdirSync(inCheckout('.git/hooks'), { recursive: true });
  writeFileSync(inCheckout('.git/hooks/post-checkout'), `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 });
  appendFileSync(
    inCheckout('.git/config'),
    `[http "https://example.com/"]\n\textraheader = AUTHORIZATION: basic c2VjcmV0\n[core]\n\tfsmonitor = touch ${mark}\n[url "file:///nowhere"]\n\tinsteadOf = file://${origin()}\n`,
  );
  commit('two');
  await checkOut(settings(), run);
  expect(readFileSync(inCheckout('file'), 'utf8')).toBe('two');
  appendFileSync(inCheckout('.git/config'), '[credential]\n\thelper = store\n');
  await resetCheckout(settings(), run);
  expect(existsSync(mark)).toBe(false);
  expect(readFileSync(inCheckout('.git/config'), 'utf8')).not.toMatch(
    /extraheader|helper|insteadOf|fsmonitor/,
  );
  expect(existsSync(inCheckout('.git/hooks'))).toBe(false);
  expect(git(directory(), 'status', '--porcelain')).toBe('');
});

test.each<[string, () => void]>([
  [
    'a file in the place of its directory',
    () => {
      renameSync(inCheckout('.git'), join(folder, 'evil'));
      writeFileSync(inCheckout('.git'), `gitdir: ${join(folder, 'evil')}\n`);
    },
  ],
  [
    'a link in the place of its directory',
    () => {
      renameSync(inCheckout('.git'), join(folder, 'evil'));
      symlinkSync(join(folder, 'evil'), inCheckout('.git'));
    },
  ],
  [
    'another common directory',
    () => {
      cpSync(inCheckout('.git'), join(folder, 'evil'), { recursive: true });
      writeFileSync(inCheckout('.git/commondir'), `${join(folder, 'evil')}\n`);
    },
  ],
])('a command that has left %s has none of its configuration used', async (_, leave) => {
  const mark = join(folder, 'ran');
  await checkOut(settings(), run);
  leave();
  // Programs of filters run when files are written, with the environment of git.
  appendFileSync(join(folder, 'evil/config'), `[filter "x"]\n\tsmudge = touch ${mark}; cat\n`);
  writeFileSync(join(folder, 'origin/.gitattributes'), '* filter=x\n');
  commit('two');
  await checkOut(settings(), run);
  expect(readFileSync(inCheckout('file'), 'utf8')).toBe('two');
  expect(existsSync(mark)).toBe(false);
});

test('submodules are checked out, and are moved with the commit', async () => {
  const library = join(folder, 'library');
  mkdirSync(library);
  git(library, 'init', '-q', '-b', 'main');
  writeFileSync(join(library, 'header'), '1');
  git(library, 'add', '.');
  git(library, 'commit', '-qm', '1');
  git(
    origin(),
    '-c',
    'protocol.file.allow=always',
    'submodule',
    '--quiet',
    'add',
    `file://${library}`,
    'lib',
  );
  git(origin(), 'commit', '-qm', 'with a library');
  // Submodules from files are refused by default.
  const config = join(folder, 'gitconfig');
  writeFileSync(config, '[protocol "file"]\n\tallow = always\n');
  writeFileSync(join(folder, '.gitconfig'), readFileSync(config));
  const home = process.env.HOME;
  process.env.HOME = folder;
  try {
    await checkOut(settings({ submodules: true }), run);
    expect(readFileSync(inCheckout('lib/header'), 'utf8')).toBe('1');
    const mark = join(folder, 'ran');
    appendFileSync(
      inCheckout('.git/modules/lib/config'),
      `[core]\n\tpager = touch ${mark}\n[filter "x"]\n\tsmudge = touch ${mark}; cat\n`,
    );
    mkdirSync(inCheckout('.git/modules/lib/info'), { recursive: true });
    writeFileSync(inCheckout('.git/modules/lib/info/attributes'), '* filter=x\n');
    writeFileSync(inCheckout('.git/modules/lib/index.lock'), '');
    writeFileSync(join(library, 'header'), '2');
    git(library, 'commit', '-qam', '2');
    git(join(origin(), 'lib'), 'pull', '-q', `file://${library}`, 'main');
    git(origin(), 'commit', '-qam', 'a later library');
    await checkOut(settings({ submodules: true }), run);
    expect(readFileSync(inCheckout('lib/header'), 'utf8')).toBe('2');
    expect(existsSync(mark)).toBe(false);
    await resetCheckout(settings({ submodules: true }), run);
    expect(git(directory(), 'submodule', 'status')).toMatch(/ lib /);
    expect(git(directory(), 'status', '--porcelain')).toBe('');
    await checkOut(settings({ submodules: true, depth: 1 }), run);
    expect(readFileSync(inCheckout('lib/header'), 'utf8')).toBe('2');
  } finally {
    process.env.HOME = home;
  }
});

test.runIf(process.getuid?.() === 0)('the user owns the checkout, whose parents are of root', async () => {
  chmodSync(folder, 0o755);
  const user = Number(execFileSync('id', ['-u', 'nobody']));
  // Nothing can be fetched: the checkout is made before.
  const none = settings({ repository: join(folder, 'none') });
  await expect(checkOut(none, { ...run, user: 'nobody' })).rejects.toThrow(
    'does not appear to be a git repository',
  );
  expect([join(folder, 'deep'), directory(), inCheckout('.git')].map((path) => statSync(path).uid)).toEqual([
    0,
    user,
    user,
  ]);
});

test('GitHub compares the URL without .git, and the other providers take it as it is', async () => {
  const url = (provider: string) =>
    resetCheckout(settings({ repository: 'https://example.com/acme/app.git' }), { ...run, provider }).then(
      () => git(directory(), 'config', 'remote.origin.url'),
    );
  mkdirSync(directory(), { recursive: true });
  expect(await url('gha')).toBe('https://example.com/acme/app');
  expect(await url('bk')).toBe('https://example.com/acme/app.git');
});

test.each([
  [{ repository: '--upload-pack=x' }, 'repository'],
  [
    { repository: 'https://user:word@example.com/a' },
    'must have no credentials in a URL: use credentialCommand',
  ],
  [{ repository: 'https://token@example.com/a' }, 'must have no credentials in a URL'],
  [{ repository: 'git@example.com:a', credentialCommand: ['x'] }, 'needs a repository with https://'],
  [{ ref: '-x' }, 'ref'],
  [{ depth: 1.5 }, 'depth'],
])('%j is refused', (change, reason) => {
  expect(() => settings(change)).toThrow(reason);
});

test('a command for credentials that fails, or prints none, is named without its output', async () => {
  const command = (script: string) =>
    checkOut({ ...settings(), credentialCommand: ['sh', '-c', script] }, run);
  await expect(command('echo password=a-secret; exit 3')).rejects.toThrow(
    /^sh for credentials ended with 3$/,
  );
  await expect(command('echo a-secret')).rejects.toThrow('sh printed no line password=...');
});
