import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { createPagerDuty, type PagerDuty, type PagerDutyOptions } from './receiver.ts';

export type PagerDutyServer = PagerDuty & {
  /** The address of `POST /v2/enqueue`. */
  url: string;
  close(): Promise<void>;
};

/** The receiver on a free loopback port. The caller closes it. */
export async function startPagerDuty(options: PagerDutyOptions): Promise<PagerDutyServer> {
  const pagerDuty = createPagerDuty(options);
  const server = createServer(async (request, response) => {
    try {
      const path = new URL(request.url ?? '/', 'http://localhost').pathname;
      const answer = pagerDuty.handle({ method: request.method ?? '', path, body: await buffer(request) });
      response.writeHead(answer.status, answer.headers).end(answer.body);
    } catch (error) {
      // The client went away in the middle of its body, or the receiver has a defect: either way, no answer.
      response.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the PagerDuty receiver has no port');
  return {
    ...pagerDuty,
    url: `http://127.0.0.1:${address.port}/v2/enqueue`,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}
