import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChildProcessFailed, execute } from '../../infra/runner/src/child-process.ts';
import { parseCheckout } from '../../infra/runner/src/config.ts';
import { restoreSnapshot, sweepJobTrees } from '../../infra/runner/src/snapshot/index.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { checkOut, resetCheckout } from '../../infra/runner/src/warming/checkout.ts';
import { whyMissing } from '../support/packages.ts';
import { type Recipe, recipes } from '../support/recipes.ts';
import { startWorld } from '../support/snapshots.ts';

const FOLDER = `/var/tmp/hearth-recipes-${process.pid}`;
const path = (name: string) => join(FOLDER, name);

/** What the docs name, and where it is here. */
const PLACES: readonly [string, string][] = [
  ['/var/lib/hearth-agent/gha/work/app', path('work')],
  ['/home/runner', path('home')],
  ['/var/cache/ci', path('ci')],
  ['/var/lib/docker', path('docker')],
];
const placed = (text: string) => PLACES.reduce((result, [from, to]) => result.replaceAll(from, to), text);

/** A sample project, and how its tool tells what it has done. */
type Sample = {
  needs: Record<string, string>;
  /** Nothing is fetched. */
  isLocal?: true;
  files: Record<string, string>;
  /** Runs once in the new project, with network. */
  prepare?: string;
  /** A change of one file. */
  edit: [file: string, content: string];
  /** Units of work in the output of the command: what it compiled, fetched or built. */
  work(output: string): number;
  env?: Record<string, string>;
};

const count = (pattern: RegExp) => (output: string) => output.match(pattern)?.length ?? 0;
const MAVEN =
  '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>com.example</groupId><artifactId>app</artifactId><version>1</version><properties><maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target></properties></project>\n';
const DOCKERFILE =
  'FROM scratch\nCOPY busybox /busybox\nRUN ["/busybox", "dd", "if=/dev/urandom", "of=/layer", "bs=1M", "count=4"]\nCOPY file /file\nRUN ["/busybox", "cp", "/file", "/copy"]\n';

const SAMPLES: Record<string, Sample> = {
  cargo: {
    needs: { cargo: 'cargo' },
    files: {
      'Cargo.toml':
        '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nitoa = "1"\n',
      'src/lib.rs': 'pub fn text(n: u32) -> String { itoa::Buffer::new().format(n).to_string() }\n',
      'src/main.rs': 'fn main() { println!("{}", app::text(1)); }\n',
    },
    prepare: 'cargo generate-lockfile',
    edit: ['src/main.rs', 'fn main() { println!("{}", app::text(2)); }\n'],
    work: count(/^ +(Compiling|Downloaded) /gm),
    env: { RUSTUP_HOME: process.env.RUSTUP_HOME ?? join(homedir(), '.rustup') },
  },
  go: {
    needs: { go: 'golang-go' },
    files: {
      'go.mod': 'module example.com/app\n\ngo 1.21\n',
      'main.go':
        'package main\n\nimport (\n\t"example.com/app/text"\n\t"golang.org/x/mod/semver"\n)\n\nfunc main() { println(text.Of("v1"), semver.IsValid("v1")) }\n',
      'text/text.go': 'package text\n\nfunc Of(s string) string { return s }\n',
    },
    prepare: 'go get golang.org/x/mod@v0.20.0',
    edit: ['text/text.go', 'package text\n\nfunc Of(s string) string { return s + s }\n'],
    work: count(/^(\S+\/\S+|go: downloading .*|runtime)$/gm),
    env: { GOFLAGS: '-v', GOTOOLCHAIN: 'local', CGO_ENABLED: '0' },
  },
  npm: {
    needs: { npm: 'npm' },
    files: {
      'package.json': '{"name":"app","version":"1.0.0","dependencies":{"kleur":"4.1.5"}}\n',
      'index.js': 'console.log(1)\n',
    },
    prepare: 'npm install --package-lock-only',
    edit: ['index.js', 'console.log(2)\n'],
    work: count(/http fetch GET 200 .*(miss|updated)/g),
    env: { npm_config_loglevel: 'http', npm_config_userconfig: join(homedir(), '.npmrc') },
  },
  pnpm: {
    needs: { npm: 'npm' },
    files: {
      'package.json': '{"name":"app","version":"1.0.0","dependencies":{"kleur":"4.1.5"}}\n',
      'index.js': 'console.log(1)\n',
    },
    prepare: 'pnpm install --lockfile-only',
    edit: ['index.js', 'console.log(2)\n'],
    work: (output) => Number(/downloaded (\d+), added \d+, done/.exec(output)?.[1] ?? Number.NaN),
    env: { npm_config_userconfig: join(homedir(), '.npmrc'), npm_config_reporter: 'append-only' },
  },
  maven: {
    needs: { mvn: 'maven', javac: 'default-jdk-headless' },
    files: { 'pom.xml': MAVEN, 'src/main/java/A.java': 'class A {}\n' },
    edit: ['src/main/java/A.java', 'class A { int a; }\n'],
    work: count(/Downloading from/g),
    env: { MAVEN_OPTS: `-Duser.home=${path('home')} -XX:TieredStopAtLevel=1` },
  },
  ccache: {
    needs: { ccache: 'ccache', gcc: 'gcc', make: 'make' },
    isLocal: true,
    files: {
      Makefile:
        'CC = gcc\nall: a.o b.o c.o\n\t@ccache --print-stats\nsetup:\n\t@ccache --zero-stats >/dev/null\n.PHONY: all setup\na.o b.o c.o: setup\n',
      'a.c': 'int a(void) { return 1; }\n',
      'b.c': 'int b(void) { return 1; }\n',
      'c.c': 'int c(void) { return 1; }\n',
    },
    edit: ['b.c', 'int b(void) { return 2; }\n'],
    work: (output) => Number(/^cache_miss\s+(\d+)$/m.exec(output)?.[1] ?? Number.NaN),
  },
  docker: {
    needs: { dockerd: 'docker.io', docker: 'docker.io', busybox: 'busybox-static' },
    isLocal: true,
    files: { Dockerfile: DOCKERFILE, file: '1\n', '.dockerignore': 'assets\n.git\n' },
    edit: ['file', '2\n'],
    work: (output) => count(/^Step \d+/gm)(output) - 1 - count(/---> Using cache/g)(output),
    env: { DOCKER_BUILDKIT: '0', DOCKER_HOST: `unix://${path('docker.sock')}` },
  },
};

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A command beside a daemon of Docker, as aw-runner has one in runs and jobs. It needs nothing of this computer, and leaves nothing. */
function withDaemon(command: string): string {
  const options = [
    `--data-root=${path('docker')}`,
    `--exec-root=${path('docker-exec')}`,
    `--pidfile=${path('docker.pid')}`,
    `--host=unix://${path('docker.sock')}`,
    '--iptables=false --ip6tables=false --bridge=none',
  ];
  // The mount namespace of the daemon is a copy, and would hold the trees of other programs until the daemon ends.
  const own = `findmnt --raw --noheadings --output TARGET,SOURCE | awk '$2 ~ /loop/ && index($1, "${FOLDER}/") != 1 { print $1 }' | tac | xargs --no-run-if-empty umount --lazy`;
  const start = `${own}; exec dockerd ${options.join(' ')}`;
  return `unshare --net --mount sh -c ${quoted(start)} >${path('dockerd.log')} 2>&1 &
daemon=$!
until docker info >/dev/null 2>&1; do sleep 0.2; kill -0 $daemon || { cat ${path('dockerd.log')}; exit 1; }; done
(${command}) && code=0 || code=$?
kill $daemon
wait $daemon
exit $code`;
}

/** How often something is fetched, and the pause in between in milliseconds: a registry can fail once. */
const TRIES = 4;
const PAUSE_MS = 5_000;

async function withNetwork<T>(fetches: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await fetches();
    } catch (error) {
      if (tries === TRIES) throw error;
    }
    await sleep(PAUSE_MS);
  }
}

/** Why nothing can be fetched for the first run, or undefined. */
async function whyOffline(): Promise<string | undefined> {
  const answers = await withNetwork(() => execute('npm', ['ping', '--fetch-retries=1'])).then(
    () => true,
    () => false,
  );
  if (answers) return undefined;
  const reason = 'the registry of npm does not answer, and the first run of a recipe fetches';
  if (process.env.HEARTH_REQUIRE_ALL === '1') throw new Error(`HEARTH_REQUIRE_ALL=1, and ${reason}`);
  return reason;
}

const base = await whyMissing({ 'mkfs.xfs': 'xfsprogs', mke2fs: 'e2fsprogs', git: 'git', ip: 'iproute2' });
const reasons = new Map<string, string>();
const offline = await whyOffline();
for (const { name } of recipes()) {
  const sample = SAMPLES[name];
  const reason = base ?? (await whyMissing(sample?.needs ?? {})) ?? (sample?.isLocal ? undefined : offline);
  if (reason !== undefined) {
    reasons.set(name, reason);
    console.warn(`the recipe for ${name} is skipped: ${reason}`);
  }
}

test('every recipe of the docs has a sample', () => {
  expect(recipes().map(({ name }) => name)).toEqual(Object.keys(SAMPLES));
});

describe('recipes', () => {
  beforeAll(async () => {
    rmSync(FOLDER, { recursive: true, force: true });
    mkdirSync(path('tools'), { recursive: true });
    if (!reasons.has('pnpm'))
      await withNetwork(() =>
        execute('npm', ['install', '--silent', '--prefix', path('tools'), 'pnpm@10.34.9']),
      );
  });
  afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

  for (const recipe of recipes())
    test.skipIf(reasons.has(recipe.name))(
      `${recipe.name}: nothing to do after a restore, a small night, one edited file costs what it costs`,
      () => follow(recipe, SAMPLES[recipe.name] as Sample),
    );
});

/** Plays two nights and the jobs between them, as a set with the recipe has them. */
async function follow(recipe: Recipe, sample: Sample): Promise<void> {
  const world = await startWorld();
  let current: Directories | undefined;
  const directory = placed(recipe.directory);
  const paths = recipe.paths.map(placed);
  if (!paths.some((each) => directory.startsWith(`${each}/`))) paths.push(directory);
  const origin = path('origin');
  const env = {
    ...process.env,
    ...sample.env,
    PATH: `${path('tools/node_modules/.bin')}:${process.env.PATH}`,
    HOME: path('home'),
    // `npm test` gives its own cache to what it starts, and that one can contain the packages of the sample.
    npm_config_cache: path('home/.npm'),
  };
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=n', '-c', 'user.email=e@example.com', ...args], {
      cwd: origin,
      stdio: 'pipe',
    });
  const commit = (files: Record<string, string>) => {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(origin, name)), { recursive: true });
      writeFileSync(join(origin, name), content);
    }
    git('add', '-A');
    git('commit', '-qm', 'change');
  };

  async function boot(name: string): Promise<void> {
    if (current) await sweepJobTrees(current, (line) => expect.fail(line));
    for (const left of ['work', 'home', 'ci', 'docker', 'docker-exec'])
      rmSync(path(left), { recursive: true, force: true });
    mkdirSync(path('home'));
    current = { ...world.instance(name), paths };
    await restoreSnapshot({ s3: world.s3, bucket: 'b', set: 'default', directories: current });
  }
  /** The command of the recipe. @returns its output */
  async function command(before: string, isOffline = false): Promise<string> {
    const [program, option, script = ''] = recipe.command;
    expect([program, option]).toEqual(['sh', '-c']);
    const text = `${before}\n${recipe.name === 'docker' ? withDaemon(placed(script)) : placed(script)}`;
    const log = path('output');
    rmSync(log, { force: true });
    const isolate = isOffline ? ['unshare', '--net', '--'] : ['env'];
    const [start = '', ...rest] = [...isolate, 'sh', '-c', `exec >>"$0" 2>&1\n${text}`, log];
    const run = () => execute(start, rest, { env });
    await (isOffline ? run() : withNetwork(run)).catch((error: unknown) => {
      if (!(error instanceof ChildProcessFailed)) throw error;
      expect.fail(readFileSync(log, 'utf8').slice(-2000));
    });
    return readFileSync(log, 'utf8');
  }
  async function warmingRun(): Promise<{ work: number; bytes: number }> {
    const settings = parseCheckout({ directory, repository: `file://${origin}` });
    const run = { provider: 'gha', user: undefined, signal: AbortSignal.timeout(1_800_000), log: () => {} };
    await checkOut(settings, run);
    const work = sample.work(await command(''));
    await resetCheckout(settings, run);
    if (!current) throw new Error('no instance');
    const saved = await world.saveAndPromote(current);
    return { work, bytes: saved.uploadedBytes };
  }
  /** A job: the checkout, with its clean, and the command, without a network. @returns what it did */
  async function job(): Promise<number> {
    const checkout = `cd ${directory} && git clean -ffdxq && git fetch -q --depth=1 origin HEAD && git checkout -q --force --detach FETCH_HEAD || exit 1`;
    const output = await command(`ip link set lo up; ${checkout}`, true);
    return sample.work(output);
  }

  try {
    rmSync(origin, { recursive: true, force: true });
    mkdirSync(origin);
    mkdirSync(path('home'), { recursive: true });
    git('init', '-q', '-b', 'main');
    // Of a project with some content, so that 2 % are more than the metadata of a file system.
    commit({
      ...sample.files,
      assets: randomBytes(6_000_000).toString('base64'),
      '.gitignore': 'target\nnode_modules\n*.o\n',
    });
    if (recipe.name === 'docker') copyFileSync('/bin/busybox', join(origin, 'busybox'));
    const { prepare } = sample;
    if (prepare) await withNetwork(() => execute('sh', ['-c', prepare], { cwd: origin, env }));
    git('add', '-A');
    git('commit', '-qm', 'prepared', '--allow-empty');

    await boot('first');
    const cold = await warmingRun();
    expect(cold.work).toBeGreaterThan(0);
    // The same edit where nothing was restored.
    commit({ [sample.edit[0]]: sample.edit[1] });
    const edited = await job();
    git('reset', '-q', '--hard', 'HEAD~1');

    await boot('second');
    expect(await job()).toBe(0);
    const night = await warmingRun();
    console.log(
      `${recipe.name}: first ${cold.bytes} bytes, next night ${night.bytes} (${((night.bytes / cold.bytes) * 100).toFixed(2)} %); units of work: cold ${cold.work}, edited ${edited}`,
    );
    expect(night.bytes).toBeLessThan(cold.bytes * 0.02);
    commit({ [sample.edit[0]]: sample.edit[1] });
    expect(await job()).toBe(edited);
  } finally {
    await world.close();
  }
}
