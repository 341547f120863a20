import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { INSTANCE_ID } from '../../../shared/fleet/names.ts';
import { type LookUp, readItem } from './facts.ts';
import { createTokens } from './tokens.ts';

/**
 * The instance metadata service (IMDSv2 alone) of every runner of the local cloud, on one loopback port. On EC2 each
 * instance sees its own data at 169.254.169.254; here each has its own base path: `http://127.0.0.1:<port>/<instance id>`.
 */
export type MetadataServer = {
  /** What a runner's configuration names as its metadata endpoint; no slash at the end. */
  endpointOf(instanceId: string): string;
  close(): Promise<void>;
};

type Answer = { status: number; body?: string; headers?: Record<string, string> };

/**
 * @param lookUp finds an instance; asked for each request, so that the answer is what is true now
 * @param now milliseconds, for the life of tokens
 */
export async function startMetadataServer(
  lookUp: LookUp,
  now: () => number = Date.now,
): Promise<MetadataServer> {
  const tokens = createTokens(now);

  function answer(request: IncomingMessage): Answer {
    const [, instanceId = '', version, ...rest] = new URL(
      request.url ?? '/',
      'http://localhost',
    ).pathname.split('/');
    const facts = INSTANCE_ID.test(instanceId) ? lookUp(instanceId) : undefined;
    if (facts === undefined) {
      tokens.revoke(instanceId);
      return { status: 404, body: 'no such instance' };
    }
    if (version !== 'latest') return { status: 404 };
    const path = rest.join('/');
    if (path === 'api/token') return issueToken(request, instanceId);
    if (request.method !== 'GET' && request.method !== 'HEAD') return { status: 405 };
    if (!tokens.isValid(instanceId, header(request, 'x-aws-ec2-metadata-token'))) return { status: 401 };
    const body = readItem(facts, path);
    return body === undefined ? { status: 404 } : { status: 200, body };
  }

  function issueToken(request: IncomingMessage, instanceId: string): Answer {
    if (request.method !== 'PUT') return { status: 405 };
    // EC2 refuses what came through a proxy: it may come from outside the instance.
    if (header(request, 'x-forwarded-for') !== undefined) return { status: 403 };
    const issued = tokens.issue(instanceId, header(request, 'x-aws-ec2-metadata-token-ttl-seconds'));
    if (issued === undefined) return { status: 400 };
    return {
      status: 200,
      body: issued.token,
      headers: { 'x-aws-ec2-metadata-token-ttl-seconds': String(issued.ttl) },
    };
  }

  const server = createServer((request, response) => {
    request.resume();
    send(response, answer(request));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the metadata server has no port');
  return {
    endpointOf: (instanceId) => `http://127.0.0.1:${address.port}/${instanceId}`,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function send(response: ServerResponse, { status, body = '', headers = {} }: Answer): void {
  response.writeHead(status, { 'content-type': 'text/plain', server: 'EC2ws', ...headers }).end(body);
}
