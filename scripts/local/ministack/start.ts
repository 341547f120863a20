import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RUN_VARIABLE } from '../cleanup/system.ts';
import { lowPort } from '../free-port.ts';
import type { Home } from '../service.ts';

/** What the local cloud uses of MiniStack; the rest stays unloaded. */
const SERVICES = [
  's3',
  'ssm',
  'secretsmanager',
  'events',
  'scheduler',
  'sqs',
  'lambda',
  'iam',
  'sts',
  'logs',
];

/** Seconds until a start that gives no answer counts as failed. */
const START_SECONDS = 180;

/** Lines of its log that are shown when it died. */
const LOG_LINES = 10;

export type MiniStack = {
  /** `http://127.0.0.1:<port>`. */
  url: string;
  pid: number;
  /** Fulfilled with what happened when the process ends without having been asked to. */
  died: Promise<string>;
  stop(): Promise<void>;
};

/**
 * Starts MiniStack out of the private Python environment that the set-up made, and waits until it answers.
 *
 * @param options.root the repository
 * @param options.folder of the run; logs and temporary files go there
 * @throws with the end of its log if it does not come up
 */
export async function startMiniStack(options: {
  root: string;
  folder: string;
  home: Home;
}): Promise<MiniStack> {
  const python = join(options.root, '.local/venv/bin/python');
  if (!existsSync(python)) {
    throw new Error('the emulator is not installed: run `node scripts/setup/setup.mjs`');
  }
  const temp = join(options.folder, 'tmp');
  await mkdir(temp, { recursive: true });
  // Functions are unpacked below here. As in Lambda, no package.json above them sets their module type.
  await writeFile(join(temp, 'package.json'), '{}');
  const port = await lowPort();
  const logFile = join(options.folder, 'ministack.log');
  const child = spawn(python, [join(import.meta.dirname, 'serve.py'), `${options.folder}/`], {
    cwd: options.folder,
    env: {
      ...environment({ port, temp, bin: join(options.root, 'node_modules/.bin'), home: options.home }),
      [RUN_VARIABLE]: `${options.folder}/`,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that Ctrl-C in the terminal leaves the order of stopping to the cloud.
    detached: true,
  });
  const log = createWriteStream(logFile);
  child.stdout.pipe(log);
  child.stderr.pipe(log);

  let stopping = false;
  const ended = once(child, 'exit').then(([code, signal]) => `${signal ?? `exit code ${code}`}`);
  const died = new Promise<string>((resolve) => {
    ended.then(async (how) => {
      if (!stopping) resolve([`MiniStack died (${how})`, ...(await lastLines(logFile))].join('\n'));
    });
  });
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    stopping = true;
    killGroup(child);
    await ended;
  };
  try {
    await Promise.race([
      healthy(url),
      died.then((message) => {
        throw new Error(message);
      }),
    ]);
  } catch (error) {
    await stop();
    throw new Error(`MiniStack did not start: ${String(error)}`);
  }
  return { url, pid: child.pid ?? 0, died, stop };
}

/** The end of its log, which is removed with the run. */
async function lastLines(logFile: string): Promise<string[]> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return text
    .trim()
    .split('\n')
    .slice(-LOG_LINES)
    .filter((line) => line !== '');
}

/** Nothing of the caller's environment goes in: no proxy, no credentials, no other temporary folder. */
function environment(options: { port: number; temp: string; bin: string; home: Home }) {
  return {
    // The functions' workers run the `node` that comes first here: Node 24, as in the Lambda runtime.
    PATH: `${options.bin}:/usr/local/bin:/usr/bin:/bin`,
    HOME: options.temp,
    TMPDIR: options.temp,
    LANG: 'C.UTF-8',
    PYTHONDONTWRITEBYTECODE: '1',
    BIND_HOST: '127.0.0.1',
    MINISTACK_HOST: '127.0.0.1',
    GATEWAY_PORT: String(options.port),
    MINISTACK_REGION: options.home.region,
    MINISTACK_ACCOUNT_ID: options.home.account,
    SERVICES: SERVICES.join(','),
    LAMBDA_EXECUTOR: 'local',
    IOT_MTLS_ENABLED: '0',
    SFTP_ENABLED: '0',
    // MiniStack's own worker script calls url.parse in every function.
    NODE_OPTIONS: '--disable-warning=DEP0169',
    LOG_LEVEL: 'WARNING',
  };
}

async function healthy(url: string): Promise<void> {
  const end = performance.now() + START_SECONDS * 1000;
  for (;;) {
    const answer = await fetch(`${url}/_ministack/health`).catch(() => undefined);
    if (answer?.ok) return;
    if (performance.now() > end) throw new Error(`no answer within ${START_SECONDS} s`);
    await sleep(50);
  }
}

/** The server and the functions' workers, which are in its group. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
