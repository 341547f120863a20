import { cleanRun } from './clean.ts';

/**
 * Waits beside a cloud and cleans up after it when it is gone, however it went: its standard input is a pipe that only
 * the cloud's process holds, and that the kernel closes even after a SIGKILL.
 *
 * Usage: node guardian.ts <run folder>/
 */
const folder = process.argv[2]?.replace(/\/$/, '');
if (!folder) throw new Error('usage: guardian.ts <run folder>/');

// Ctrl-C reaches every process of the terminal; the cloud stops by itself then, and this one stays until it has.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

const guarded = folder;
process.stdin.resume();
process.stdin.once('end', () => cleanRun(guarded));
