import { cleanRun } from './clean.ts';

/**
 * Waits beside a cloud and cleans up after it when it is gone, however it went: its standard input is a pipe that only
 * the cloud's process holds, and that the kernel closes even after a SIGKILL.
 *
 * Usage: node scripts/local/cleanup/main.ts <run folder>/
 */
const folder = process.argv[2]?.replace(/\/$/, '');
if (!folder) {
  console.error('usage: node scripts/local/cleanup/main.ts <run folder>/');
  process.exit(2);
}
process.stdin.resume();
process.stdin.once('end', () => cleanRun(folder));
