import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MAX_REQUEST_BYTES } from '../../../../shared/fleet/registration.ts';

/** The one call that an agent of Buildkite makes with its agent token. */
const REGISTER = '/register';

/** Room for the rest of the request to the function. */
const MAX_BODY = MAX_REQUEST_BYTES - 1_024;

export type RegisterProxy = {
  /** The agent's `--endpoint`. */
  endpoint: string;
  close(): void;
};

/**
 * Answers the `register` call of one agent, and no other call. It listens on loopback from the start of the agent until the agent is
 * registered. A call without `token` is refused, and only one registration is passed on: a job cannot register an agent here.
 *
 * @param register called with the agent's own description. @returns Buildkite's answer, with its real endpoint, or the reason why
 *   there is none: the agent then ends
 */
export async function registerProxy(options: {
  token: string;
  queue: string;
  register(agent: Record<string, unknown>): Promise<{ answer: object } | { refused: string }>;
}): Promise<RegisterProxy> {
  const { token, queue, register } = options;
  let isUsed = false;

  const server = createServer({ requestTimeout: 60_000 }, (request, response) => {
    serve(request, response).catch((error: unknown) => {
      answer(response, 500, { message: error instanceof Error ? error.message : 'failed' });
    });
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST' || request.url !== REGISTER)
      return answer(response, 404, { message: 'only POST /register is served here' });
    if (!isEqual(request.headers.authorization ?? '', `Token ${token}`))
      return answer(response, 401, { message: 'not the agent of this instance' });
    if (isUsed) return answer(response, 409, { message: 'the agent is registered' });
    const agent = await readBody(request);
    if (!agent) return answer(response, 400, { message: `not a JSON object of at most ${MAX_BODY} bytes` });
    const problem = queueProblem(agent, queue);
    if (problem !== undefined) return answer(response, 422, { message: problem });
    isUsed = true;
    const result = await register(agent);
    // A 4xx other than 429 ends the agent at once: the chain waits, and starts another one.
    if ('refused' in result) return answer(response, 422, { message: result.refused });
    answer(response, 200, result.answer);
  }

  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  server.unref();
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    close() {
      server.close();
      server.closeIdleConnections();
    },
  };
}

/** The function checks the queue too: this makes a wrong configuration visible in the log of the instance. */
function queueProblem({ meta_data: tags }: Record<string, unknown>, queue: string): string | undefined {
  const queues = Array.isArray(tags) ? tags.filter((tag) => /^queue=/i.test(String(tag))) : [];
  return queues.length === 1 && queues[0] === `queue=${queue}`
    ? undefined
    : `the agent must have exactly the tag queue=${queue}`;
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown> | undefined> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > MAX_BODY) return undefined;
    pieces.push(piece);
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'));
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body } : undefined;
  } catch {
    return undefined;
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  // The agent makes no second call to this address.
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify(body));
}

function isEqual(one: string, other: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(one), hash(other));
}
