import { chmod, rm } from 'node:fs/promises';
import { createServer, request as httpRequest, type Server } from 'node:http';
import * as v from 'valibot';
import type { BuildCache, CacheNumbers } from './build-cache.ts';
import type { CacheServer } from './http.ts';

/**
 * The way from aw-runner to the process of the cache: a socket that root and the user of the cache reach, and jobs do not.
 *
 *     POST /turnover            the job has ended
 *     POST /drain?ms=60000      waits for the uploads
 *     GET /numbers
 */
const numbersSchema = v.object({
  hits: v.number(),
  misses: v.number(),
  servedBytes: v.number(),
  storedBytes: v.number(),
  dropped: v.number(),
  failures: v.number(),
});

/** Longest wait for an answer, besides that of a drain; in milliseconds. The process is on the same instance. */
const ANSWER_MS = 2_000;

export async function serveControl(path: string, cache: BuildCache, jobs: CacheServer): Promise<Server> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://control');
    const run = async () => {
      switch (`${request.method} ${url.pathname}`) {
        case 'POST /turnover':
          await jobs.turnover();
          return {};
        case 'POST /drain':
          await cache.drain(Number(url.searchParams.get('ms') ?? 0));
          return {};
        case 'GET /numbers':
          return cache.numbers();
        default:
          return undefined;
      }
    };
    run().then(
      (result) => {
        response.statusCode = result === undefined ? 404 : 200;
        response.end(JSON.stringify(result ?? {}));
      },
      (error: unknown) => {
        response.statusCode = 500;
        response.end(String(error));
      },
    );
  });
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  await chmod(path, 0o600);
  return server;
}

/** Calls of aw-runner. @throws if the process does not answer */
export function controlClient(path: string) {
  function call(method: string, url: string, limitMs = ANSWER_MS): Promise<string> {
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(limitMs);
      const sent = httpRequest({ socketPath: path, method, path: url, signal, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.once('error', reject).once('end', () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`the cache answered ${response.statusCode}: ${text}`));
        });
      });
      sent.once('error', reject).end();
    });
  }
  return {
    turnover: async () => void (await call('POST', '/turnover')),
    drain: async (milliseconds: number) =>
      void (await call('POST', `/drain?ms=${Math.round(milliseconds)}`, milliseconds + ANSWER_MS)),
    numbers: async (): Promise<CacheNumbers> =>
      v.parse(v.pipe(v.string(), v.parseJson(), numbersSchema), await call('GET', '/numbers')),
  };
}
