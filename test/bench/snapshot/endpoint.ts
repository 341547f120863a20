import { type Shape, startS3Server } from '../../support/s3-server.ts';

/**
 * The S3 of a benchmark, in a process of its own: it prints its address, and ends with its parent. With the argument `shaped` it
 * has a link of 2 Gbit/s with 20 ms to the first byte, and 90 MB/s for one connection, as S3 gives it. With `archive` one connection
 * has 400 MB/s: the best that actions for caches report.
 */
const SHAPES: Record<string, Shape> = {
  shaped: { bytesPerSecond: 250e6, bytesPerConnection: 90e6, latencyMs: 20 },
  archive: { bytesPerSecond: 400e6, bytesPerConnection: 400e6, latencyMs: 20 },
};

const server = await startS3Server(SHAPES[process.argv[2] ?? '']);
console.log(server.url);
process.stdin.resume();
process.stdin.once('end', () => process.exit(0));
