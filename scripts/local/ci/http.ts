import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';

/** The HTTP server of a stand-in: routes, faults on request, and a record of each request. */

export type Incoming = {
  method: string;
  /** Without the query. */
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** The body as JSON; an empty body is `{}`. @throws {Refused} 400 if it is no JSON. */
  json(): unknown;
  /** Aborted when the client has closed the connection. */
  closed: AbortSignal;
  /** The caller, for the record of requests. The route sets it after authentication. */
  caller?: string;
};

/** A body that is neither text nor a buffer is sent as JSON. */
export type Answer = { status: number; body?: unknown; headers?: Record<string, string> };

/** One request as the stand-in keeps it: no body, no credential. */
export type RecordedRequest = {
  at: number;
  method: string;
  path: string;
  query: string;
  /** Name of the credential or agent, or undefined when the request has none that is valid. */
  caller: string | undefined;
  /** 0 when no answer was sent. */
  status: number;
};

/** An answer that refuses a request. Routes throw it. */
export class Refused extends Error {
  readonly answer: Answer;
  constructor(
    status: number,
    message: string,
    more: { body?: object; headers?: Record<string, string> } = {},
  ) {
    super(message);
    this.answer = {
      status,
      body: { message, ...more.body },
      ...(more.headers && { headers: more.headers }),
    };
  }
}

/**
 * A fault for requests that match. `answer` replaces the answer, and the request has no effect. `lose-answer` handles the request,
 * then closes the connection without an answer. `delay` handles it late, `slow-answer` at once with a late answer. `hang` never answers. `refuse` closes the connection.
 */
export const faultSchema = v.strictObject({
  method: v.optional(v.string()),
  /** A regular expression over the path. */
  path: v.pipe(v.string(), v.check(isExpression, 'is no regular expression')),
  /** How many requests it meets; without it, all. */
  times: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0))),
  effect: v.variant('kind', [
    v.strictObject({
      kind: v.literal('answer'),
      status: v.pipe(v.number(), v.integer(), v.minValue(200), v.maxValue(599)),
      body: v.optional(v.unknown()),
      headers: v.optional(v.record(v.string(), v.string())),
    }),
    v.strictObject({ kind: v.literal('lose-answer') }),
    v.strictObject({ kind: v.literal('delay'), milliseconds: v.number() }),
    v.strictObject({ kind: v.literal('slow-answer'), milliseconds: v.number() }),
    v.strictObject({ kind: v.literal('hang') }),
    v.strictObject({ kind: v.literal('refuse') }),
  ]),
});
export type Fault = v.InferOutput<typeof faultSchema>;

function isExpression(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

export type Handler = (request: Incoming) => Promise<Answer | undefined>;

export type StandInServer = {
  url: string;
  requests: RecordedRequest[];
  close(): Promise<void>;
};

/**
 * Listens on `port` (0: any free one).
 *
 * @param handle answers a request; undefined is 404
 * @param faults asked for each request, so that a change acts at once
 */
export async function startServer(
  { port = 0, address = '127.0.0.1' }: { port?: number | undefined; address?: string | undefined },
  handle: Handler,
  faults: () => readonly Fault[],
): Promise<StandInServer> {
  const requests: RecordedRequest[] = [];
  const used = new Map<Fault, number>();

  /** The fault for a request; one with `times` is used up. Requests that control the stand-in have none. */
  function faultFor(method: string, path: string): Fault['effect'] | undefined {
    if (path.startsWith(CONTROL)) return undefined;
    const fault = faults().find(
      (candidate) =>
        (candidate.method === undefined || candidate.method === method) &&
        new RegExp(candidate.path).test(path) &&
        (candidate.times === undefined || (used.get(candidate) ?? 0) < candidate.times),
    );
    if (fault) used.set(fault, (used.get(fault) ?? 0) + 1);
    return fault?.effect;
  }

  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(message.url ?? '/', 'http://stand-in');
    const closed = new AbortController();
    response.once('close', () => closed.abort());
    const request: Incoming = {
      method: message.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      headers: message.headers,
      body: await buffer(message),
      json() {
        return parseJson(this.body);
      },
      closed: closed.signal,
    };
    const record: RecordedRequest = {
      at: Date.now(),
      method: request.method,
      path: request.path,
      query: url.search,
      caller: undefined,
      status: 0,
    };
    if (!request.path.startsWith(CONTROL)) requests.push(record);
    const fault = faultFor(request.method, request.path);
    if (fault?.kind === 'refuse') return void response.destroy();
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'delay') await sleep(fault.milliseconds);
    const { status, body, headers } =
      fault?.kind === 'answer' ? asAnswer(fault) : ((await handleOrRefuse(request)) ?? NOT_FOUND);
    record.caller = request.caller;
    if (fault?.kind === 'lose-answer') return void response.destroy();
    if (fault?.kind === 'slow-answer') await sleep(fault.milliseconds);
    record.status = status;
    const isJson = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);
    response.writeHead(status, {
      ...(isJson && { 'content-type': 'application/json; charset=utf-8' }),
      ...headers,
    });
    response.end(isJson ? JSON.stringify(body) : body);
  }

  async function handleOrRefuse(request: Incoming): Promise<Answer | undefined> {
    try {
      return await handle(request);
    } catch (error) {
      if (error instanceof Refused) return error.answer;
      throw error;
    }
  }

  const http = createServer((message, response) => {
    serve(message, response).catch((error) => {
      // A client that is gone gets no answer; everything else is a fault of the stand-in.
      if (message.complete) console.error(error);
      if (message.complete && !response.headersSent) response.writeHead(500).end(String(error));
      else response.destroy();
    });
  });
  // A long poll may be open for as long as the provider keeps it.
  http.requestTimeout = 0;
  // Longer than clients keep a connection: a request on one that the server closes meanwhile fails.
  http.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen(port, address, resolve);
  });
  const bound = http.address();
  if (bound === null || typeof bound === 'string') throw new Error('the stand-in has no port');
  return {
    url: `http://${address.includes(':') ? `[${address}]` : address}:${bound.port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}

/** Prefix of the requests that control a stand-in. No provider has it. */
export const CONTROL = '/_control/';

const NOT_FOUND: Answer = { status: 404, body: { message: 'Not Found' } };

function asAnswer(fault: Extract<Fault['effect'], { kind: 'answer' }>): Answer {
  return {
    status: fault.status,
    body: fault.body ?? { message: 'a fault that was asked for' },
    ...(fault.headers && { headers: fault.headers }),
  };
}

function parseJson(body: Buffer): unknown {
  if (body.length === 0) return {};
  try {
    return JSON.parse(body.toString());
  } catch {
    throw new Refused(400, 'Problems parsing JSON');
  }
}

/** The body of a request, checked. @throws {Refused} with `status` and the first problem. */
export function parseBody<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  status = 422,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  throw new Refused(status, `${v.getDotPath(issue) ?? 'body'}: ${issue.message}`);
}

/** Repeats `probe` until it has a result, the time is over or the client is gone. */
export async function longPoll<T>(
  request: Incoming,
  seconds: number,
  probe: () => T | undefined,
): Promise<T | undefined> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    // A client that is gone gets nothing, so nothing is lost with its connection.
    if (request.closed.aborted) return undefined;
    const found = probe();
    if (found !== undefined || performance.now() >= end) return found;
    await sleep(POLL_EVERY_MS);
  }
}

const POLL_EVERY_MS = 20;
