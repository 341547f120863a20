import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

/**
 * Runs a program and returns what it printed.
 *
 * @throws with the program's own words if it fails
 */
export async function spawnText(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execFileAsync(program, [...args], { maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}
