import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../config.ts';
import { isAlive, startTime } from '../processes.ts';
import { stateFile } from '../state.ts';
import { warmingDriver } from './warming-run.ts';

const INSTANCE = 'i-0123456789abcdef0';
let folder: string;
let lines: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-warming-run-'));
  lines = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** An instance of a warming group whose S3 accepts nothing: each save fails. */
function instance(warming: object) {
  const directories = { images: join(folder, 'l'), warm: join(folder, 'warm'), state: join(folder, 'state') };
  const config = parseConfig(
    JSON.stringify({
      version: 1,
      region: 'us-east-1',
      bucket: 'b',
      reportsUrl: 'https://sqs.example.com/q',
      group: 'gha/warm',
      autoScalingGroup: 'aw-gha-warm',
      warmingSet: 'default',
      warming,
      directories,
      agent: { driver: 'gha' },
    }),
    'test',
  );
  if (!config.warming) throw new Error('no warming');
  const s3 = new S3Client({ region: 'us-east-1', endpoint: 'http://127.0.0.1:9', maxAttempts: 1 });
  const states = stateFile(directories.state);
  const driver = warmingDriver({
    config,
    warming: config.warming,
    set: 'default',
    s3,
    toolVersion: '0',
    instanceId: INSTANCE,
    states,
    log: (line) => void lines.push(line),
  });
  const idle = () => expect.poll(async () => (await driver.status()).state, { timeout: 5_000 }).toBe('idle');
  const unhealthy = () => readFileSync(join(directories.state, 'unhealthy'), 'utf8');
  return { driver, states, idle, unhealthy, directories };
}

describe('a warming run', () => {
  test('whose command fails saves nothing, and records the reason', async () => {
    const { driver, states, idle, unhealthy } = instance({ command: ['sh', '-c', 'pwd >here; exit 7'] });
    await driver.start();
    expect(await driver.status()).toEqual({ state: 'busy', job: 'warming run of default' });
    await idle();
    expect(unhealthy()).toBe('warming run failed: Error: sh ended with 7');
    expect(await states.read(INSTANCE)).toMatchObject({ warmingRun: 'failed' });
    expect(readFileSync(join(folder, 'warm/here'), 'utf8')).toBe(`${join(folder, 'warm')}\n`);
  });

  test('that takes too long ends with all processes that it has started', async () => {
    const child = join(folder, 'child');
    const script = `sleep 60 & echo $! >${child}; wait`;
    const { driver, idle, unhealthy } = instance({ command: ['sh', '-c', script], timeoutSeconds: 1 });
    await driver.start();
    await idle();
    expect(unhealthy()).toContain('the command took longer than 1 s');
    await expect.poll(() => isAlive(Number(readFileSync(child, 'utf8')))).toBe(false);
  });

  test.runIf(process.getuid?.() === 0)('runs as the configured user', async () => {
    const script = 'echo "$(id -un) $HOME" >who; exit 1';
    const { driver, idle, directories } = instance({ command: ['sh', '-c', script], user: 'nobody' });
    chmodSync(folder, 0o755);
    mkdirSync(directories.warm);
    chmodSync(directories.warm, 0o1777);
    await driver.start();
    await idle();
    expect(readFileSync(join(directories.warm, 'who'), 'utf8')).toMatch(/^nobody \/(?!root)/);
  });

  test.runIf(process.getuid?.() === 0)('of a missing user fails, and names it', async () => {
    const { driver, idle, unhealthy } = instance({ command: ['true'], user: 'no-such-user' });
    await driver.start();
    await idle();
    expect(unhealthy()).toBe('warming run failed: Error: there is no user no-such-user');
  });

  test('is not repeated on one instance', async () => {
    const { driver, states, idle } = instance({ command: ['sh', '-c', 'echo once >>runs; exit 1'] });
    await driver.start();
    await idle();
    await driver.start();
    await idle();
    expect(readFileSync(join(folder, 'warm/runs'), 'utf8')).toBe('once\n');
    expect(await states.read(INSTANCE)).toMatchObject({ warmingRun: 'failed' });
  });

  test('ends the command that a killed aw-runner has left, before it starts its own', async () => {
    const { driver, idle, directories } = instance({ command: ['sh', '-c', 'exit 1'] });
    const left = spawn('sleep', ['60'], { detached: true });
    await once(left, 'spawn');
    const ended = once(left, 'exit');
    mkdirSync(directories.state);
    writeFileSync(join(directories.state, 'warming.pid'), `${left.pid} ${await startTime(left.pid ?? 0)}`);
    await driver.start();
    await idle();
    await ended;
    expect(lines[0]).toContain(`left, process ${left.pid}`);
    expect(existsSync(join(directories.state, 'warming.pid'))).toBe(false);
  });

  test('does not end a process with the reused pid of an earlier command', async () => {
    const { driver, idle, directories } = instance({ command: ['sh', '-c', 'exit 1'] });
    mkdirSync(directories.state);
    writeFileSync(join(directories.state, 'warming.pid'), `${process.pid} 1`);
    await driver.start();
    await idle();
    expect(lines[0]).toBe('warming: sh -c exit 1');
  });
});
