import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
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
import type { DiskTier } from './disk-tier.ts';

/** Longest result of an action, in bytes. It can contain standard output. */
const MAX_RESULT = 16 * 2 ** 20;

/** Longest key of a tool. Keys of S3 have at most 1,024 bytes (S3 User Guide, "Naming Amazon S3 objects"). */
const MAX_KEY = 512;

/** What a request is about. */
type Target =
  | { kind: 'ac' | 'cas'; sha256: string }
  | { kind: 'entry'; tool: CacheTool; key: string }
  /** Of a client that asks for more than entries. */
  | { kind: 'status' };

/**
 * The cache as its clients see it, on the loopback:
 *
 *     GET, PUT /bazel/ac/<sha256>, /bazel/cas/<sha256>      Bazel (bazel.build/remote/caching)
 *     HEAD, GET, PUT /<tool>/<key>                          ccache, sccache (WebDAV), Gradle, Nx, Turborepo
 *
 * A PUT is answered with 200 also where nothing is stored, since clients switch the cache off after an error. Only content that
 * is wrong or too long is refused. A connection is never closed before its answer.
 */
export function cacheServer(cache: BuildCache, disk: DiskTier, log: (line: string) => void): Server {
  const server = createServer((request, response) => {
    handle(request, response, cache, disk).catch((error: unknown) => {
      log(`${request.method} ${request.url}: ${errorText(error)}`);
      if (response.headersSent) response.destroy();
      // A miss, or a PUT that stored nothing.
      else answer(request, response, request.method === 'PUT' ? 200 : 404);
    });
  });
  // A client can send at the moment at which an idle connection is closed. The connections of a job end with it.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  return server;
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  cache: BuildCache,
  disk: DiskTier,
): Promise<void> {
  const target = targetOf(request.url ?? '');
  if (!target) return answer(request, response, 404);
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      if (target.kind === 'status') return answer(request, response, 200, '{"status":"enabled"}');
      return sendContent(request, response, cache, await read(target, cache));
    case 'PUT':
      return put(request, response, target, cache, disk);
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
  const bazel = /^\/bazel\/(?:[^/]+\/)*(ac|cas)\/([0-9a-f]{64})$/.exec(path);
  if (bazel) return { kind: bazel[1] === 'ac' ? 'ac' : 'cas', sha256: bazel[2] ?? '' };
  const [, name, key = ''] = /^\/([a-z]+)(?:\/(.*))?$/.exec(path) ?? [];
  const tool = CACHE_TOOLS.find((each) => each === name);
  if (!tool) return undefined;
  if (tool === 'turborepo' && /^v8\/artifacts\/(status|events)$/.test(key)) return { kind: 'status' };
  // The characters of keys that tools use; no part may be empty or lead elsewhere.
  const isKey =
    key.length <= MAX_KEY && key.split('/').every((part) => /^(?!\.{1,2}$)[A-Za-z0-9._~@+=-]*$/.test(part));
  return isKey ? { kind: 'entry', tool, key } : undefined;
}

function decodedPath(url: string): string {
  try {
    return decodeURIComponent(new URL(url, 'http://cache').pathname);
  } catch {
    return '';
  }
}

function read(target: Exclude<Target, { kind: 'status' }>, cache: BuildCache): Promise<Content | undefined> {
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
    await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
  }
  response.end();
}

async function put(
  request: IncomingMessage,
  response: ServerResponse,
  target: Target,
  cache: BuildCache,
  disk: DiskTier,
): Promise<void> {
  if (target.kind === 'status') return answer(request, response, 405);
  const limit = { ac: MAX_RESULT, cas: MAX_OUTPUT, entry: MAX_ENTRY }[target.kind];
  const received = await receive(request, limit, disk, target.kind === 'ac' ? MAX_RESULT : SMALL_OUTPUT);
  // The client has ended its connection.
  if (received === 'cut') return;
  if (received === 'too-long') return answer(request, response, 413);
  try {
    if (target.kind === 'cas') await cache.putOutput(target.sha256, received);
    else if (target.kind === 'entry') await cache.putEntry(target.tool, target.key, received);
    else await cache.putAction(target.sha256, received.content ?? Buffer.alloc(0));
  } catch (error) {
    if (!(error instanceof WrongDigest) && !(error instanceof UnreadableMessage)) throw error;
    return answer(request, response, 400, error.message);
  }
  answer(request, response, 200);
}

/**
 * Reads the body of a request: in memory up to `inMemory` bytes, else into a temporary file. A body that is too long is read to its
 * end too, since a client reads the answer after it has sent everything.
 */
async function receive(
  request: IncomingMessage,
  limit: number,
  disk: DiskTier,
  inMemory: number,
): Promise<Received | 'too-long' | 'cut'> {
  const digest = createHash('sha256');
  let start: Buffer[] | undefined = [];
  let path: string | undefined;
  let file: FileHandle | undefined;
  let bytes = 0;
  let isWhole = false;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > limit) continue;
      digest.update(piece);
      start?.push(piece);
      if (start && bytes > inMemory) {
        if (!disk.isOff()) {
          path = disk.temporary();
          file = await open(path, 'wx', 0o600);
          await file.write(Buffer.concat(start));
        }
        start = undefined;
      } else if (!start) await file?.write(piece);
    }
    isWhole = request.complete && bytes <= limit;
  } catch (error) {
    if (!request.destroyed) throw error;
  } finally {
    await file?.close();
    if (path !== undefined && !isWhole) await unlink(path);
  }
  if (!request.complete) return 'cut';
  if (bytes > limit) return 'too-long';
  const sha256 = digest.digest('hex');
  if (start) return { bytes, sha256, content: Buffer.concat(start) };
  return { bytes, sha256, ...(path !== undefined && { file: path }) };
}

/** WebDAV clients ask for the folder of an entry before they write it. Every folder exists. */
async function propfind(
  request: IncomingMessage,
  response: ServerResponse,
  target: Target,
  cache: BuildCache,
): Promise<void> {
  if (target.kind !== 'entry') return answer(request, response, 405);
  const isFolder = target.key === '' || target.key.endsWith('/');
  const content = isFolder ? undefined : await cache.entry(target.tool, target.key);
  if (!isFolder && !content) return answer(request, response, 404);
  const size = content && ('bytes' in content ? content.bytes.length : 'size' in content ? content.size : 0);
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
