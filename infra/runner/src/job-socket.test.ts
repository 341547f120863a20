import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { callJobSocket, startJobSocket } from './job-socket.ts';

let folder: string;
let path: string;
let codes: number[];
let lines: string[];
let socket: { close(): void };
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-socket-'));
  path = join(folder, 'job.sock');
  codes = [];
  lines = [];
  socket = await open();
});
afterEach(() => {
  socket.close();
  rmSync(folder, { recursive: true });
});

const open = (user = 'nobody') =>
  startJobSocket({
    path,
    user,
    finished: async (code) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      codes.push(code);
      return 'ok';
    },
    log: (line) => lines.push(line),
  });

/** Everything that the socket answers to a text. */
const send = (text: string) =>
  new Promise<string>((resolve, reject) => {
    let answer = '';
    const client = connect(path, () => client.write(text));
    client.setEncoding('utf8').on('data', (piece) => {
      answer += piece;
    });
    client.on('close', () => resolve(answer)).on('error', reject);
  });

test('takes an exit code, and answers', async () => {
  expect(await callJobSocket(path, 37)).toBe('ok');
  expect(codes).toEqual([37]);
});

test.each([
  'job-finished 256\n',
  'job-finished -1\n',
  'job-finished 1; reboot\n',
  'job-finished\n',
  'snapshot save\n',
  '\n',
  'x'.repeat(100_000),
])('anything else is data and does nothing: %j', async (text) => {
  expect(await send(text)).toMatch(/^error: expected/);
  expect(codes).toEqual([]);
});

test('a caller that sends nothing is ended', async () => {
  expect(await send('job-fin')).toBe('');
}, 10_000);

test('only the first line of a caller counts', async () => {
  expect(await send('job-finished 1\njob-finished 36\n')).toBe('ok\n');
  expect(codes).toEqual([1]);
});

test('is opened again over the socket of an aw-runner that was killed', async () => {
  const next = await open();
  expect(await callJobSocket(path, 0)).toBe('ok');
  next.close();
});

test('is closed to a user that does not exist, and to all others', async () => {
  socket.close();
  socket = await open('no-such-user');
  expect(lines).toEqual([expect.stringContaining('is closed to no-such-user')]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test.runIf(process.getuid?.() === 0)('admits the group of the user of jobs', () => {
  const { mode, uid, gid } = statSync(path);
  expect(mode & 0o777).toBe(0o660);
  expect(uid).toBe(0);
  expect(gid).not.toBe(0);
});

test('without aw-runner the caller gets the reason', async () => {
  await expect(callJobSocket(join(folder, 'none'), 1)).rejects.toThrow('ENOENT');
});
