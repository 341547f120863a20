import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { EmulatedService, ServiceRequest } from '../service.ts';

/** A service on a real socket, for tests that speak to it with the real SDK client. */
export type Served = {
  /** What an SDK client needs to talk to it. */
  client: {
    endpoint: string;
    region: string;
    credentials: { accessKeyId: string; secretAccessKey: string };
  };
  close(): Promise<void>;
};

/** Serves one emulated service on a free loopback port. The caller closes it. */
export async function serve(service: EmulatedService): Promise<Served> {
  const server = createServer(async (incoming, outgoing) => {
    try {
      const { status, headers, body } = await service.handle(await toRequest(service.name, incoming));
      outgoing.writeHead(status, headers).end(body);
    } catch (error) {
      outgoing.writeHead(500, { 'content-type': 'text/plain' }).end(String(error));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    client: {
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-west-2',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    },
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}

async function toRequest(service: string, incoming: IncomingMessage): Promise<ServiceRequest> {
  const url = new URL(incoming.url ?? '/', 'http://localhost');
  const body = await buffer(incoming);
  const headers = Object.fromEntries(
    Object.entries(incoming.headers).map(([name, value]) => [name, [value ?? []].flat().join(', ')]),
  );
  const target = headers['x-amz-target']?.split('.').at(-1);
  return {
    method: incoming.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    headers,
    body,
    region: 'us-west-2',
    service,
    operation: target ?? new URLSearchParams(body.toString('utf8')).get('Action') ?? '',
  };
}
