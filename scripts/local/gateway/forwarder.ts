import { Agent, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** Headers that belong to one connection and not to the call (RFC 9110, section 7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'expect',
]);

/** What happened to a forwarded call. */
export type Forwarded = { status: number; body: Buffer | undefined };

export type Forwarder = {
  /**
   * Hands a call on and its answer back. Bodies flow through: a snapshot's layers are larger than memory should be.
   *
   * @param body what has been read already, or the stream that is still to be read
   * @param options.keep whether to return the answer's body too; only for small ones
   * @throws if the emulator cannot be reached or breaks off
   */
  forward(
    req: IncomingMessage,
    res: ServerResponse,
    body: Buffer | Readable,
    options: { keep: boolean },
  ): Promise<Forwarded>;
  close(): void;
};

/** @param target `http://127.0.0.1:<port>` of the emulator behind the gateway */
export function createForwarder(target: string): Forwarder {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 64, timeout: 120_000 });
  const { hostname, port } = new URL(target);
  return {
    async forward(req, res, body, { keep }) {
      const upstream = request({
        agent,
        hostname,
        port,
        method: req.method,
        path: req.url,
        headers: forwardable(req.headersDistinct),
      });
      const answered = new Promise<IncomingMessage>((resolve, reject) => {
        upstream.once('response', resolve);
        upstream.once('error', reject);
      });
      if (Buffer.isBuffer(body)) upstream.end(body);
      // A broken upload shows as the answer's error; without the handler it would show twice.
      else pipeline(body, upstream).catch((error: Error) => upstream.destroy(error));
      const answer = await answered;
      res.writeHead(answer.statusCode ?? 502, forwardable(answer.headersDistinct));
      if (!keep) {
        await pipeline(answer, res);
        return { status: answer.statusCode ?? 502, body: undefined };
      }
      const whole = await readAll(answer);
      res.end(whole);
      return { status: answer.statusCode ?? 502, body: whole };
    },
    close: () => agent.destroy(),
  };
}

export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function forwardable(headers: NodeJS.Dict<string[]>): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  for (const [name, values] of Object.entries(headers)) {
    if (!values || HOP_BY_HOP.has(name)) continue;
    const [only, ...more] = values;
    if (only !== undefined) kept[name] = more.length > 0 ? values : only;
  }
  return kept;
}
