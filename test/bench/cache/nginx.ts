import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../../scripts/local/free-port.ts';

/** nginx with WebDAV on a local disk: the cache server that Bazel's documentation names (Debian: nginx-light). */
export async function startNginx(folder: string): Promise<{ url: string; stop(): Promise<void> }> {
  const port = await freePort();
  for (const name of ['data', 'tmp']) mkdirSync(join(folder, name), { recursive: true, mode: 0o777 });
  const config = join(folder, 'nginx.conf');
  writeFileSync(
    config,
    `user root;
worker_processes 1;
daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 512; }
http {
  access_log off;
  keepalive_requests 1000000;
  client_max_body_size 0;
  client_body_temp_path ${folder}/tmp;
  server {
    listen 127.0.0.1:${port};
    location / {
      root ${folder}/data;
      dav_methods PUT;
      create_full_put_path on;
    }
  }
}
`,
  );
  const child = spawn('nginx', ['-c', config, '-p', folder], { stdio: ['ignore', 'ignore', 'inherit'] });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries += 1) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer) break;
    if (tries > 500 || child.exitCode !== null) throw new Error('nginx does not answer');
    await sleep(20);
  }
  return { url, stop: () => ended(child) };
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  await exit;
}
