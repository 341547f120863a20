import { spawn } from 'node:child_process';

/** How much of a program's complaints is kept, in characters. */
const MAX_COMPLAINT = 2000;

/** A program of the machine failed, or is not there. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly exitCode: number | null;

  constructor(program: string, exitCode: number | null, said: string) {
    super(`${program} ${exitCode === null ? 'did not run' : `exited with ${exitCode}`}: ${said.trim()}`);
    this.exitCode = exitCode;
  }
}

/**
 * Runs a program to its end, without a shell.
 *
 * @returns its standard output
 * @throws {CommandFailed} on any exit code but 0
 */
export function command(
  program: string,
  args: readonly string[],
  options: { signal?: AbortSignal; cwd?: string } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let out = '';
    let complaints = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      out += piece;
    });
    child.stderr.setEncoding('utf8').on('data', (piece: string) => {
      complaints = (complaints + piece).slice(-MAX_COMPLAINT);
    });
    child.once('error', (error) => reject(new CommandFailed(program, null, error.message)));
    child.once('close', (code) => {
      if (code === 0) resolve(out);
      else reject(new CommandFailed(program, code, complaints || out.slice(-MAX_COMPLAINT)));
    });
  });
}
