import { lstat, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ChildProcessFailed, execute } from '../child-process.ts';
import type { Checkout } from '../config.ts';
import { makePlace } from '../snapshot/warm-paths.ts';

/** Settings for the git commands of one warming run. */
export type CheckoutRun = {
  /** The CI provider of the jobs that use the checkout. */
  provider: string;
  /** User that owns the checkout. Undefined: the user of aw-runner, root. */
  user: string | undefined;
  signal: AbortSignal;
  log(line: string): void;
};

/**
 * Options of every command. A checkout that an earlier run has left can contain programs: hooks, and what its configuration names.
 * None of them runs here, where credentials are.
 */
const HARMLESS = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'gc.auto=0',
  'protocol.ext.allow=never',
  // Submodules are updated by themselves, when their configuration is new.
  'fetch.recurseSubmodules=false',
  'submodule.recurse=false',
];

/**
 * Names the commit that is warm. A fetch tells the server which commits it has by their refs alone, and actions/checkout removes all
 * branches before it fetches: without a ref of another kind it would fetch everything.
 */
const WARM_REF = 'refs/hearth/warm';

/**
 * Brings one commit of a repository to the place where jobs check out, so that the checkout of a job fetches what is newer. Files
 * that a build has left beside the sources stay.
 *
 * @returns the commit
 * @throws if git fails; the credentials are in no message
 */
export async function checkOut(settings: Checkout, run: CheckoutRun): Promise<string> {
  const { directory, repository, ref, submodules } = settings;
  run.log(`warming: checkout of ${ref} of ${repository} in ${directory}`);
  await makeDirectory(directory, run.user);
  await resetCheckout(settings, run);
  const credentials = await readCredentials(settings, run);
  const git = (...args: string[]) => runGit(args, directory, run, credentials);
  const depth = depthOf(settings, run.provider);
  if (depth > 0) {
    await git('fetch', '--quiet', '--force', '--no-tags', `--depth=${depth}`, 'origin', ref);
  } else {
    const isShallow = await exists(join(directory, '.git/shallow'));
    const extent = isShallow ? ['--unshallow'] : [];
    await git('fetch', '--quiet', '--force', '--prune', '--tags', ...extent, 'origin');
    await git('fetch', '--quiet', '--force', 'origin', ref);
  }
  await git('checkout', '--quiet', '--force', '--detach', 'FETCH_HEAD');
  await git('update-ref', WARM_REF, 'HEAD');
  if (submodules) {
    await git('submodule', 'sync', '--quiet', '--recursive');
    const extent = depth > 0 ? [`--depth=${depth}`] : [];
    await git('submodule', 'update', '--quiet', '--init', '--recursive', '--force', ...extent);
  }
  return (await git('rev-parse', 'HEAD')).trim();
}

/**
 * Makes the configuration of the checkout a new one and removes hooks and locks: whatever a command has written there, credentials
 * included, reaches neither the next run nor a job.
 */
export async function resetCheckout(
  { directory, repository, submodules }: Checkout,
  run: CheckoutRun,
): Promise<void> {
  const git = (...args: string[]) => runGit(args, directory, run);
  const own = await lstat(join(directory, '.git')).catch(() => undefined);
  // A file or a link in its place would lead to a configuration elsewhere.
  if (own && !own.isDirectory()) await asUser(['rm', '-f', '--', '.git'], directory, run);
  else if (own) {
    const left = ['commondir', 'config', 'config.worktree', 'hooks', 'FETCH_HEAD', 'credentials'];
    const paths = left.map((name) => join('.git', name));
    await asUser(['rm', '-rf', '--', ...paths], directory, run);
    // Of a git that was killed. No ref has such a name (git-check-ref-format(1)).
    await asUser(['find', '.git', '-type', 'f', '-name', '*.lock', '-delete'], directory, run);
    // `submodule update` makes those of submodules anew.
    const names = ['config', 'config.worktree', 'commondir']
      .flatMap((name) => ['-o', '-name', name])
      .slice(1);
    const files = ['-not', '-path', '*/refs/*', '-not', '-path', '*/objects/*', '(', ...names, ')'];
    if (await exists(join(directory, '.git/modules')))
      await asUser(['find', '.git/modules', ...files, '-delete'], directory, run);
  }
  await git('init', '--quiet', '--template=');
  await git('config', 'remote.origin.url', originOf(repository, run.provider));
  await git('config', 'remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*');
  if (submodules && (await exists(join(directory, '.gitmodules')))) await git('submodule', '--quiet', 'init');
}

/**
 * The URL as the checkout of a provider compares it: another one makes it delete the directory. actions/checkout (v4,
 * git-directory-helper.ts) expects `https://<server>/<owner>/<name>`.
 */
function originOf(repository: string, provider: string): string {
  return provider === 'gha' && repository.startsWith('https://')
    ? repository.replace(/\.git$/, '')
    : repository;
}

/** A checkout on GitHub has one commit, unless the workflow asks for more; the other providers fetch the whole history. */
function depthOf({ depth }: Checkout, provider: string): number {
  return depth ?? (provider === 'gha' ? 1 : 0);
}

async function makeDirectory(directory: string, user: string | undefined): Promise<void> {
  if (await exists(directory)) return;
  await makePlace(dirname(directory));
  // Jobs check out below directories that only root may write. The user owns the checkout itself.
  if (user === undefined) await mkdir(directory);
  else await execute('install', ['-d', '-o', user, '--', directory]);
}

/** The credentials as git's credential protocol has them, for one server. */
type Credentials = { url: string; text: string };

/**
 * Runs the set's command for credentials with the rights of aw-runner. They are in the environment of git alone, and only for the
 * server of the repository.
 */
async function readCredentials(
  { credentialCommand, repository }: Checkout,
  { signal }: CheckoutRun,
): Promise<Credentials | undefined> {
  if (!credentialCommand) return undefined;
  const [program = '', ...args] = credentialCommand;
  const text = await execute(program, args, { signal }).catch((error: unknown) => {
    // Its output can contain them.
    const code = error instanceof ChildProcessFailed ? error.exitCode : null;
    throw new Error(`${program} for credentials ${code === null ? 'did not run' : `ended with ${code}`}`);
  });
  if (!/^password=./m.test(text))
    throw new Error(
      `${program} printed no line password=... (gitcredentials(7), "username=" and "password=")`,
    );
  return { url: new URL(repository).origin, text };
}

function runGit(
  args: readonly string[],
  directory: string,
  run: CheckoutRun,
  credentials?: Credentials,
): Promise<string> {
  const helper = `!f() { if [ "$1" = get ]; then printf '%s\\n' "$HEARTH_GIT_CREDENTIALS"; fi; }; f`;
  const options = [
    ...HARMLESS,
    // An empty value ends the list of helpers that files have named.
    ...(credentials ? ['credential.helper=', `credential.${credentials.url}.helper=${helper}`] : []),
  ].flatMap((option) => ['-c', option]);
  return asUser(['git', ...options, ...args], directory, run, {
    GIT_TERMINAL_PROMPT: '0',
    GIT_LFS_SKIP_SMUDGE: '1',
    ...(credentials && { HEARTH_GIT_CREDENTIALS: credentials.text.trim() }),
  });
}

/** @returns standard output @throws with the end of standard error */
async function asUser(
  argv: readonly string[],
  directory: string,
  { user, signal }: CheckoutRun,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const home = user === undefined ? process.env.HOME : await homeOf(user);
  const switched = user === undefined ? argv : ['runuser', '-u', user, '--', ...argv];
  const [program = '', ...args] = switched;
  return execute(program, args, {
    cwd: directory,
    signal,
    env: { PATH: process.env.PATH, LANG: 'C.UTF-8', ...(home && { HOME: home }), ...env },
  });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}

async function homeOf(user: string): Promise<string | undefined> {
  const entry = await execute('getent', ['passwd', user]).catch((cause: unknown) => {
    throw new Error(`there is no user ${user}`, { cause });
  });
  return entry.split(':')[5];
}
