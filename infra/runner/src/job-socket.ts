import { chmod, chown, mkdir, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { errorText } from '../../../shared/runtime/errors.ts';
import { execute } from './child-process.ts';

/** Where jobs reach aw-runner; in their environment it is HEARTH_JOB_SOCKET. */
export const JOB_SOCKET = '/run/aw-runner/job/socket';

/** Longest request, its time limit in milliseconds, and how many callers are served at once. */
const MAX_BYTES = 64;
const LIMIT_MS = 2_000;
const MAX_CALLERS = 8;

/**
 * The only way from a job to aw-runner: a local socket that accepts one line, `job-finished <exit code>`. It replaces a rule for
 * sudo: what a job sends is data, and the worst that it can do is to have its own instance replaced once. Permissions of the file
 * admit the user of jobs and root. The caller is not identified further: Node has no SO_PEERCRED, and every process of that user
 * on this instance belongs to its jobs.
 *
 * @param options.finished gets each exit code. @returns what the caller is told
 */
export async function startJobSocket(options: {
  path: string;
  user: string;
  finished(exitCode: number): Promise<string>;
  log(line: string): void;
}): Promise<{ close(): void }> {
  const { path, user, finished, log } = options;
  // The caller closes its side before the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => serve(socket, finished));
  server.maxConnections = MAX_CALLERS;
  await mkdir(dirname(path), { recursive: true, mode: 0o711 });
  // Of an earlier aw-runner.
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  server.unref();
  await admit(path, user).catch((error: unknown) => log(`${path} is closed to ${user}: ${errorText(error)}`));
  return { close: () => server.close() };
}

async function admit(path: string, user: string): Promise<void> {
  await chmod(path, 0o600);
  const group = Number(await execute('id', ['-g', user]));
  await chown(path, process.getuid?.() ?? 0, group);
  await chmod(path, 0o660);
}

function serve(socket: Socket, finished: (exitCode: number) => Promise<string>): void {
  let text = '';
  socket.setEncoding('latin1').setTimeout(LIMIT_MS, () => socket.destroy());
  // A caller that is gone needs no answer.
  socket.on('error', () => socket.destroy());
  socket.on('end', () => {
    if (!text.includes('\n')) socket.destroy();
  });
  socket.on('data', (piece: string) => {
    text += piece;
    const end = text.indexOf('\n');
    if (end < 0 && text.length <= MAX_BYTES) return;
    socket.removeAllListeners('data');
    const code = exitCodeOf(text.slice(0, Math.max(0, end)));
    if (code === undefined) return void socket.end('error: expected "job-finished <0 to 255>"\n');
    finished(code).then(
      (answer) => socket.end(`${answer}\n`),
      (error: unknown) => socket.end(`error: ${errorText(error)}\n`),
    );
  });
}

function exitCodeOf(line: string): number | undefined {
  const code = Number(/^job-finished (\d{1,3})$/.exec(line)?.[1] ?? Number.NaN);
  return code <= 255 ? code : undefined;
}

/**
 * The caller's side.
 *
 * @returns the answer of aw-runner
 * @throws if it cannot be reached, or refuses
 */
export function callJobSocket(path: string, exitCode: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(path, () => socket.end(`job-finished ${exitCode}\n`));
    socket
      .setEncoding('utf8')
      .setTimeout(2 * LIMIT_MS, () => socket.destroy(new Error(`${path} does not answer`)));
    socket.on('error', reject);
    socket.on('data', (piece: string) => {
      answer += piece;
    });
    socket.on('close', () => {
      const line = answer.trim();
      if (line === '' || line.startsWith('error')) reject(new Error(line || `${path} gave no answer`));
      else resolve(line);
    });
  });
}
