import { type ChildProcess, spawn } from 'node:child_process';

/** Characters of a failed program's output that its error keeps. */
const MAX_OUTPUT = 2000;

/** A program did not start, or exited with another code than 0. */
export class ChildProcessFailed extends Error {
  override readonly name = 'ChildProcessFailed';
  readonly exitCode: number | null;
  /** The last of its standard error, or of its standard output if there is no standard error. */
  readonly output: string;

  constructor(program: string, exitCode: number | null, output: string) {
    super(`${program} ${exitCode === null ? 'did not run' : `exited with ${exitCode}`}: ${output.trim()}`);
    this.exitCode = exitCode;
    this.output = output;
  }
}

/**
 * Runs a program to its end, without a shell.
 *
 * @param options.input its standard input; empty if absent
 * @param options.env its whole environment; that of aw-runner if absent
 * @returns its standard output
 * @throws {ChildProcessFailed} on any exit code but 0
 */
export function execute(
  program: string,
  args: readonly string[],
  {
    encoding = 'utf8',
    input,
    ...options
  }: {
    signal?: AbortSignal;
    cwd?: string;
    env?: NodeJS.ProcessEnv;
    encoding?: 'utf8' | 'latin1';
    input?: string;
  } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    // A program that ends before it has read its input fails by its exit code.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding(encoding).on('data', (piece: string) => {
      stdout += piece;
    });
    child.stderr.setEncoding('utf8').on('data', (piece: string) => {
      stderr = (stderr + piece).slice(-MAX_OUTPUT);
    });
    child.once('error', (error) => reject(new ChildProcessFailed(program, null, error.message)));
    child.once('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new ChildProcessFailed(program, code, stderr || stdout.slice(-MAX_OUTPUT)));
    });
  });
}

/**
 * Runs two programs to their ends, the output of the first into the second, without a shell.
 *
 * @throws {ChildProcessFailed} on any exit code but 0
 */
export async function pipe(from: readonly string[], to: readonly string[]): Promise<void> {
  const [[reader = '', ...readerArgs], [writer = '', ...writerArgs]] = [from, to];
  const second = spawn(writer, writerArgs, { stdio: ['pipe', 'ignore', 'inherit'] });
  const first = spawn(reader, readerArgs, { stdio: ['ignore', second.stdin, 'inherit'] });
  // Only the first program holds the pipe open now.
  second.stdin.destroy();
  await Promise.all([ended(reader, first), ended(writer, second)]);
}

function ended(program: string, child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new ChildProcessFailed(program, null, error.message)));
    child.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new ChildProcessFailed(program, code, ''));
    });
  });
}
