import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runnerConfig } from '../../../test/support/runner-config.ts';

let folder: string;
let services: Server;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-main-'));
  // The metadata service answers; S3 and SQS accept the connection and never answer.
  services = createServer((request, response) => {
    if (request.url === '/latest/api/token') response.end('token');
    else if (request.url?.endsWith('/instance-id')) response.end('i-0123456789abcdef0');
  });
  await once(services.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => {
  services.closeAllConnections();
  services.close();
  rmSync(folder, { recursive: true });
});

test.each(['run', 'boot'])(
  'SIGTERM ends %s promptly during a boot, although nothing answers',
  async (command) => {
    const url = `http://127.0.0.1:${(services.address() as AddressInfo).port}`;
    const config = join(folder, 'config.json');
    writeFileSync(
      config,
      runnerConfig(folder, {
        reportsUrl: `${url}/1/reports`,
        warmingSet: 'default',
        metadataEndpoint: url,
      }),
    );
    const program = spawn(
      process.execPath,
      [resolve(import.meta.dirname, 'main.ts'), command, '--config', config],
      {
        env: {
          PATH: process.env.PATH,
          AWS_ENDPOINT_URL: url,
          AWS_ACCESS_KEY_ID: 'test',
          AWS_SECRET_ACCESS_KEY: 'test',
        },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    const ended = once(program, 'exit');
    let log = '';
    program.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    await expect.poll(() => log, { timeout: 20_000 }).toContain('on i-0123456789abcdef0');
    await new Promise((done) => setTimeout(done, 200));
    const began = performance.now();
    program.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(performance.now() - began).toBeLessThan(2_000);
  },
  30_000,
);
