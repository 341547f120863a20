import { spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/** Repositories over HTTP, as a git host serves them. */
export type GitServer = {
  /** `http://127.0.0.1:<port>`; a repository is `<url>/<name>`. */
  url: string;
  /** Bytes of packs that were sent since the last call. */
  takeBytes(): number;
  close(): Promise<void>;
};

/** @param password of the user `x-access-token`, without which nothing is served; absent: everybody is served */
export async function startGitServer(root: string, password?: string): Promise<GitServer> {
  const backend = join(
    await text(spawn('git', ['--exec-path']).stdout).then((path) => path.trim()),
    'git-http-backend',
  );
  let bytes = 0;
  const server = createServer((request, response) => {
    const expected = `Basic ${Buffer.from(`x-access-token:${password}`).toString('base64')}`;
    const given = request.headers.authorization?.replace(/^basic /i, 'Basic ');
    if (password !== undefined && given !== expected) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return;
    }
    serve(backend, root, request, response, (sent) => {
      bytes += sent;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    takeBytes() {
      const taken = bytes;
      bytes = 0;
      return taken;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One request as a call of git's CGI program (git-http-backend(1)). */
function serve(
  backend: string,
  root: string,
  request: IncomingMessage,
  response: ServerResponse,
  count: (bytes: number) => void,
): void {
  const { pathname, search } = new URL(request.url ?? '/', 'http://localhost');
  const child = spawn(backend, {
    env: {
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'],
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'],
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_ADDR: '127.0.0.1',
      // Jobs ask for commits that no branch names any more.
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'uploadpack.allowAnySHA1InWant',
      GIT_CONFIG_VALUE_0: 'true',
      GIT_CONFIG_KEY_1: 'safe.directory',
      GIT_CONFIG_VALUE_1: '*',
      PATH: process.env.PATH,
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  // Git can end before it has read the whole request, and a client can go.
  child.stdin.on('error', () => request.unpipe(child.stdin));
  request.pipe(child.stdin);
  let head = Buffer.alloc(0);
  child.stdout.on('data', (piece: Buffer) => {
    if (response.headersSent) {
      count(piece.length);
      response.write(piece);
      return;
    }
    head = Buffer.concat([head, piece]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    const headers = head
      .subarray(0, end)
      .toString()
      .split('\r\n')
      .map((line) => line.split(': '));
    const status = headers.find(([name]) => name === 'Status')?.[1];
    response.writeHead(Number.parseInt(status ?? '200', 10), Object.fromEntries(headers));
    const body = head.subarray(end + 4);
    count(body.length);
    response.write(body);
  });
  child.stdout.once('end', () => response.end());
}
