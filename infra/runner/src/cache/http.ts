import { createHash, hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { CACHE_TOOLS, type CacheTool } from '../../../../shared/fleet/build-cache.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { SMALL_OUTPUT } from './action-record.ts';
import { UnreadableMessage } from './action-result.ts';
import {
  type BuildCache,
  type Content,
  MAX_ENTRY,
  MAX_OUTPUT,
  type Received,
  WrongDigest,
} from './build-cache.ts';
import type { DiskTier, TemporaryFile } from './disk-tier.ts';
import { limiter } from './limiter.ts';

/** Longest result of an action, in bytes. It can contain standard output. */
const MAX_RESULT = 16 * 2 ** 20;

/** Longest key of a tool. Keys of S3 have at most 1,024 bytes (S3 User Guide, "Naming Amazon S3 objects"). */
const MAX_KEY = 512;

/** Most connections, and most requests at once: a job must not take the memory of the process. Bazel has 100 connections by default. */
const MAX_CONNECTIONS = 1_024;
const REQUESTS_AT_ONCE = 256;

/** Longest time until a request has arrived, in milliseconds: one that stalls must not take its place for ever. */
const REQUEST_MS = 600_000;

/** Most requests of one connection that wait for their answers. No client of a cache sends one before it has the last answer. */
const MAX_PIPELINED = 16;

/** Longest instance name of Bazel, which separates actions. */
const MAX_INSTANCE = 512;

/** What a request is about. */
type Target =
  | { kind: 'ac' | 'cas'; sha256: string }
  | { kind: 'entry'; tool: CacheTool; key: string }
  /** The folder of an entry. */
  | { kind: 'folder' }
  /** Of a client that asks for more than entries. */
  | { kind: 'status' };

/** The cache as its clients see it. */
export type CacheServer = {
  /** @param port 0: any free one @returns the port */
  listen(port: number): Promise<number>;
  /**
   * The job has ended: ends its connections and then its claims. Fulfilled when nothing that the job has sent can be read any more, which
   * needs another socket: the kernel goes on to send what a process has left.
   *
   * @throws if the port is not free any more
   */
  turnover(): Promise<void>;
  close(): Promise<void>;
};

/**
 * Serves on the loopback:
 *
 *     GET, PUT /bazel/[<instance>/]ac/<sha256>, /bazel/[<instance>/]cas/<sha256>    Bazel (bazel.build/remote/caching)
 *     HEAD, GET, PUT /<tool>/<key>                                                  ccache, sccache (WebDAV), Gradle, Nx, Turborepo
 *
 * A PUT is answered with 200 also where nothing is stored, since clients switch the cache off after an error. Only content that
 * is wrong or too long is refused. A connection is never closed before its answer.
 */
export function cacheServer(cache: BuildCache, disk: DiskTier, log: (line: string) => void): CacheServer {
  const slots = limiter(REQUESTS_AT_ONCE);
  const connections = new Map<Socket, { last: Promise<void>; requests: number }>();

  async function serve(request: IncomingMessage, response: ServerResponse, job: number): Promise<void> {
    if (request.socket.destroyed) return;
    await handle(request, response, job, cache, disk).catch((error: unknown) => {
      log(`${request.method} ${request.url}: ${errorText(error)}`);
      if (response.headersSent) response.destroy();
      // A miss, or a PUT that stored nothing.
      else answer(request, response, request.method === 'PUT' ? 200 : 404);
    });
    // The content of an answer is in memory until then.
    await ended(response);
  }

  const server = createServer((request, response) => {
    // What a job has sent is of that job, however late it is read.
    const { job } = cache;
    const connection = connections.get(request.socket);
    if (!connection || connection.requests >= MAX_PIPELINED) {
      request.socket.destroy();
      return;
    }
    connection.requests += 1;
    // One after the other: an answer that has to wait for an earlier one is not told that its connection has ended.
    connection.last = connection.last
      .then(() => slots(() => serve(request, response, job)))
      .finally(() => {
        connection.requests -= 1;
      });
  });
  server.on('connection', (socket) => {
    connections.set(socket, { last: Promise.resolve(), requests: 0 });
    socket.once('close', () => connections.delete(socket));
  });
  server.maxConnections = MAX_CONNECTIONS;
  // A client can send at the moment at which an idle connection is closed. The connections of a job end with it.
  server.keepAliveTimeout = 0;
  server.requestTimeout = REQUEST_MS;

  async function listen(wanted: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(wanted, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
    return (server.address() as AddressInfo).port;
  }

  /** Also ends connections that wait to be accepted, and those that the kernel has not completed for lack of room. */
  async function close(): Promise<void> {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of connections.keys()) socket.destroy();
    await closed;
  }

  return {
    listen,
    close,
    async turnover() {
      if (!cache.isPerJob) return;
      const { port } = server.address() as AddressInfo;
      await close();
      cache.turnover();
      await listen(port);
    },
  };
}

function ended(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.writableFinished || response.destroyed) resolve();
    else response.once('close', resolve).once('finish', resolve);
  });
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  job: number,
  cache: BuildCache,
  disk: DiskTier,
): Promise<void> {
  const target = targetOf(request.url ?? '');
  if (!target) return answer(request, response, 404);
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      if (target.kind === 'status') return answer(request, response, 200, '{"status":"enabled"}');
      if (target.kind === 'folder') return answer(request, response, 404);
      return sendContent(request, response, cache, await read(target, cache));
    case 'PUT':
      return put(request, response, target, job, cache, disk);
    case 'POST':
      // Turborepo reports events, and asks which of several artifacts exist. It copes with no answer to both.
      return answer(request, response, 200, '{}');
    case 'MKCOL':
      return answer(request, response, 201);
    case 'PROPFIND':
      return propfind(request, response, target, cache);
    default:
      return answer(request, response, 405);
  }
}

/** Undefined: there is no such place. */
function targetOf(url: string): Target | undefined {
  const path = decodedPath(url);
  if (path === '/status') return { kind: 'status' };
  const [, instance, kind, sha256] = /^\/bazel\/(?:(.*)\/)?(ac|cas)\/([0-9a-f]{64})$/.exec(path) ?? [];
  if (kind === 'cas' && sha256 !== undefined) return { kind, sha256 };
  if (kind === 'ac' && sha256 !== undefined) return actionTarget(instance, sha256);
  const [, name, key = ''] = /^\/([a-z]+)(?:\/(.*))?$/.exec(path) ?? [];
  const tool = CACHE_TOOLS.find((each) => each === name);
  if (!tool) return undefined;
  if (tool === 'turborepo' && /^v8\/artifacts\/(status|events)$/.test(key)) return { kind: 'status' };
  // The characters of keys that tools use; no part may be empty or lead elsewhere.
  const folder = key.replace(/\/$/, '');
  const isKey =
    key.length <= MAX_KEY &&
    folder.split('/').every((part) => /^(?!\.{1,2}$)[A-Za-z0-9._~@+=-]+$/.test(part));
  if (folder !== '' && !isKey) return undefined;
  return folder === key && key !== '' ? { kind: 'entry', tool, key } : { kind: 'folder' };
}

/** An instance name separates what Bazel does not see, such as the computers of two kinds, so it is part of the name of an action. */
function actionTarget(instance: string | undefined, sha256: string): Target | undefined {
  if (instance === undefined) return { kind: 'ac', sha256 };
  if (instance.length > MAX_INSTANCE) return undefined;
  return { kind: 'ac', sha256: hash('sha256', `${instance}/${sha256}`, 'hex') };
}

function decodedPath(url: string): string {
  try {
    return decodeURIComponent(new URL(url, 'http://cache').pathname);
  } catch {
    return '';
  }
}

function read(
  target: Exclude<Target, { kind: 'status' | 'folder' }>,
  cache: BuildCache,
): Promise<Content | undefined> {
  switch (target.kind) {
    case 'ac':
      return cache.action(target.sha256).then((bytes) => bytes && { bytes });
    case 'cas':
      return cache.output(target.sha256);
    case 'entry':
      return cache.entry(target.tool, target.key);
  }
}

async function sendContent(
  request: IncomingMessage,
  response: ServerResponse,
  cache: BuildCache,
  content: Content | undefined,
): Promise<void> {
  if (!content) return answer(request, response, 404);
  response.setHeader('content-type', 'application/octet-stream');
  if ('bytes' in content) {
    cache.served(content.bytes.length);
    return answer(request, response, 200, content.bytes);
  }
  if ('file' in content) {
    // Opened before the head is sent: the file can be gone.
    const file = await open(content.file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return undefined;
    });
    if (!file) return answer(request, response, 404);
    response.setHeader('content-length', content.size);
    if (request.method === 'HEAD') {
      await file.close();
      response.end();
      return;
    }
    cache.served(content.size);
    // A client that ends its connection is no error.
    await pipeline(createReadStream('', { fd: file, highWaterMark: 256 * 1024 }), response).catch(() => {});
    return;
  }
  // Read to the end whatever the client does: it becomes a file.
  for await (const piece of content.pieces) {
    cache.served(piece.length);
    if (request.method === 'HEAD' || response.destroyed || response.write(piece)) continue;
    await drained(response);
  }
  response.end();
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

async function put(
  request: IncomingMessage,
  response: ServerResponse,
  target: Target,
  job: number,
  cache: BuildCache,
  disk: DiskTier,
): Promise<void> {
  if (target.kind === 'status' || target.kind === 'folder') return answer(request, response, 405);
  const limit = { ac: MAX_RESULT, cas: MAX_OUTPUT, entry: MAX_ENTRY }[target.kind];
  const received = await receive(request, limit, disk);
  // The client has ended its connection.
  if (received === 'cut') return;
  if (received === 'too-long') return answer(request, response, 413);
  try {
    if (target.kind === 'cas') await cache.putOutput(target.sha256, received);
    else if (target.kind === 'entry') await cache.putEntry(job, target.tool, target.key, received);
    else await cache.putAction(job, target.sha256, received);
  } catch (error) {
    if (!(error instanceof WrongDigest) && !(error instanceof UnreadableMessage)) throw error;
    return answer(request, response, 400, error.message);
  }
  answer(request, response, 200);
}

/**
 * Reads the body of a request: in memory while it is small, else into a temporary file, if there is room. A body that is too long is
 * read to its end too, since a client reads the answer after it has sent everything.
 */
async function receive(
  request: IncomingMessage,
  limit: number,
  disk: DiskTier,
): Promise<Received | 'too-long' | 'cut'> {
  const digest = createHash('sha256');
  let start: Buffer[] = [];
  let file: TemporaryFile | undefined;
  let bytes = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > limit) {
        await file?.discard();
        continue;
      }
      digest.update(piece);
      if (file) await file.write(piece);
      else start.push(piece);
      if (file || bytes <= SMALL_OUTPUT) continue;
      file = disk.create();
      await file.write(Buffer.concat(start));
      start = [];
    }
  } catch (error) {
    if (!request.destroyed) throw error;
  }
  const isWhole = request.complete && bytes <= limit;
  const isKept = await file?.close();
  if (file && !isWhole) await file.discard();
  if (!request.complete) return 'cut';
  if (bytes > limit) return 'too-long';
  const sha256 = digest.digest('hex');
  if (!file) return { bytes, sha256, content: Buffer.concat(start) };
  return { bytes, sha256, ...(isKept && { file }) };
}

/** WebDAV clients ask for the folder of an entry before they write it. Every folder exists. */
async function propfind(
  request: IncomingMessage,
  response: ServerResponse,
  target: Target,
  cache: BuildCache,
): Promise<void> {
  const isFolder = target.kind === 'folder';
  if (!isFolder && target.kind !== 'entry') return answer(request, response, 405);
  const content = isFolder ? undefined : await cache.entry(target.tool, target.key);
  if (!isFolder && !content) return answer(request, response, 404);
  const size = content && (await sizeOf(content));
  const properties = isFolder
    ? '<D:resourcetype><D:collection/></D:resourcetype>'
    : `<D:resourcetype/><D:getcontentlength>${size}</D:getcontentlength>`;
  const path = new URL(request.url ?? '/', 'http://cache').pathname;
  response.setHeader('content-type', 'application/xml; charset=utf-8');
  answer(
    request,
    response,
    207,
    `<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:"><D:response><D:href>${path}</D:href><D:propstat><D:prop>${properties}<D:getlastmodified>Thu, 01 Jan 1970 00:00:00 GMT</D:getlastmodified></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>`,
  );
}

async function sizeOf(content: Content): Promise<number> {
  if ('bytes' in content) return content.bytes.length;
  if ('size' in content) return content.size;
  let size = 0;
  // Read to the end: it becomes a file.
  for await (const piece of content.pieces) size += piece.length;
  return size;
}

/** A body that is not read yet is read to its end: a connection that is closed instead can lose the answer. */
function answer(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: string | Buffer = '',
): void {
  request.resume();
  response.statusCode = status;
  response.setHeader('content-length', Buffer.byteLength(body));
  response.end(request.method === 'HEAD' ? undefined : body);
}
