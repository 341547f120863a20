import { open, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * An S3 with the link of an instance, in a process of its own: GET of `/<bucket>/<key>` with a range, from files of a directory.
 * All connections share 250 MB/s (2 Gbit/s), each has at most 90 MB/s (S3 performance guidelines), and the first byte takes
 * 20 ms. Prints its address; ends with its input.
 *
 *     node shaped-endpoint.ts DIRECTORY
 */
const RATE = 250e6;
const RATE_PER_CONNECTION = 90e6;
const LATENCY_MS = 20;

/** Bytes of one write. */
const PIECE = 256 * 1024;

/** A rate in bytes per second. What is not used is lost but for a few milliseconds. */
function limiter(rate: number) {
  let next = 0;
  return async (bytes: number) => {
    const now = performance.now();
    next = Math.max(next, now - 5) + (bytes / rate) * 1000;
    if (next - now > 1) await sleep(next - now);
  };
}

const [directory = '.'] = process.argv.slice(2);
const link = limiter(RATE);

const server = createServer(async (request, response) => {
  try {
    await sleep(LATENCY_MS);
    const key = decodeURIComponent((request.url ?? '').split('?')[0] ?? '')
      .split('/')
      .slice(2)
      .join('/');
    const path = join(directory, key);
    const { size } = await stat(path);
    const [, from = '0', to = String(size - 1)] =
      /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const end = Math.min(Number(to), size - 1);
    response.writeHead(request.headers.range ? 206 : 200, {
      'content-length': end - Number(from) + 1,
      'content-range': `bytes ${from}-${end}/${size}`,
    });
    const connection = limiter(RATE_PER_CONNECTION);
    const file = await open(path);
    try {
      for (let at = Number(from); at <= end && !response.destroyed; ) {
        const { bytesRead, buffer } = await file.read(
          Buffer.allocUnsafe(PIECE),
          0,
          Math.min(PIECE, end + 1 - at),
          at,
        );
        await Promise.all([link(bytesRead), connection(bytesRead)]);
        if (!response.write(buffer.subarray(0, bytesRead))) {
          await new Promise<void>((resolve) => {
            const events = ['drain', 'close'];
            const proceed = () => {
              for (const event of events) response.off(event, proceed);
              resolve();
            };
            for (const event of events) response.on(event, proceed);
          });
        }
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
    response.end();
  } catch (error) {
    if (!response.headersSent) response.writeHead(404).end(String(error));
    else response.destroy();
  }
});
server.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.stdin.resume().once('end', () => process.exit(0));
