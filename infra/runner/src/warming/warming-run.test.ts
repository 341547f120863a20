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

/** A warming group's machine whose S3 takes nothing: a run that comes to save fails there. */
function machine(warming: object) {
  const directories = { layers: join(folder, 'l'), warm: join(folder, 'warm'), state: join(folder, 'state') };
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
  const host = warmingDriver({
    config,
    warming: config.warming,
    set: 'default',
    s3,
    toolVersion: '0',
    instanceId: INSTANCE,
    states,
    log: (line) => void lines.push(line),
  });
  const idle = () => expect.poll(async () => (await host.status()).state, { timeout: 5_000 }).toBe('idle');
  const unhealthy = () => readFileSync(join(directories.state, 'unhealthy'), 'utf8');
  return { host, states, idle, unhealthy, directories };
}

describe('a warming run', () => {
  test('whose command fails saves nothing, and says why', async () => {
    const { host, states, idle, unhealthy } = machine({ command: ['sh', '-c', 'pwd >here; exit 7'] });
    await host.start();
    expect(await host.status()).toEqual({ state: 'busy', job: 'warming run of default' });
    await idle();
    expect(unhealthy()).toBe('warming run failed: Error: sh ended with 7');
    expect(await states.read(INSTANCE)).toMatchObject({ warmingRun: 'failed' });
    expect(readFileSync(join(folder, 'warm/here'), 'utf8')).toBe(`${join(folder, 'warm')}\n`);
  });

  test('that takes too long is ended with all that it has started', async () => {
    const child = join(folder, 'child');
    const script = `sleep 60 & echo $! >${child}; wait`;
    const { host, idle, unhealthy } = machine({ command: ['sh', '-c', script], timeoutSeconds: 1 });
    await host.start();
    await idle();
    expect(unhealthy()).toContain('the command took longer than 1 s');
    await expect.poll(() => isAlive(Number(readFileSync(child, 'utf8')))).toBe(false);
  });

  test.runIf(process.getuid?.() === 0)('has the rights of the user it is given', async () => {
    const script = 'echo "$(id -un) $HOME" >who; exit 1';
    const { host, idle, directories } = machine({ command: ['sh', '-c', script], user: 'nobody' });
    chmodSync(folder, 0o755);
    mkdirSync(directories.warm);
    chmodSync(directories.warm, 0o1777);
    await host.start();
    await idle();
    expect(readFileSync(join(directories.warm, 'who'), 'utf8')).toMatch(/^nobody \/(?!root)/);
  });

  test.runIf(process.getuid?.() === 0)('of a user that is not there fails, and names it', async () => {
    const { host, idle, unhealthy } = machine({ command: ['true'], user: 'no-such-user' });
    await host.start();
    await idle();
    expect(unhealthy()).toBe('warming run failed: Error: there is no user no-such-user');
  });

  test('is not done twice on one machine', async () => {
    const { host, states, idle } = machine({ command: ['sh', '-c', 'echo once >>runs; exit 1'] });
    await host.start();
    await idle();
    await host.start();
    await idle();
    expect(readFileSync(join(folder, 'warm/runs'), 'utf8')).toBe('once\n');
    expect(await states.read(INSTANCE)).toMatchObject({ warmingRun: 'failed' });
  });

  test('ends what a killed aw-runner has left at work, before it starts its own', async () => {
    const { host, idle, directories } = machine({ command: ['sh', '-c', 'exit 1'] });
    const left = spawn('sleep', ['60'], { detached: true });
    await once(left, 'spawn');
    const ended = once(left, 'exit');
    mkdirSync(directories.state);
    writeFileSync(join(directories.state, 'warming.pid'), `${left.pid} ${await startTime(left.pid ?? 0)}`);
    await host.start();
    await idle();
    await ended;
    expect(lines[0]).toContain(`left, process ${left.pid}`);
    expect(existsSync(join(directories.state, 'warming.pid'))).toBe(false);
  });

  test('leaves a process alone that has the number of one that has ended', async () => {
    const { host, idle, directories } = machine({ command: ['sh', '-c', 'exit 1'] });
    mkdirSync(directories.state);
    writeFileSync(join(directories.state, 'warming.pid'), `${process.pid} 1`);
    await host.start();
    await idle();
    expect(lines[0]).toBe('warming: sh -c exit 1');
  });
});
