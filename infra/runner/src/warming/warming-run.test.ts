import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { processUnits } from '../../../../test/support/process-units.ts';
import { sharedUnits } from '../agents/placed-units.ts';
import { parseConfig } from '../config.ts';
import { isAlive } from '../processes.ts';
import { stateFile } from '../state.ts';
import { warmingDriver } from './warming-run.ts';

const INSTANCE = 'i-0123456789abcdef0';
let folder: string;
let lines: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-warming-run-'));
  lines = [];
  units = processUnits(join(folder, 'state'));
});
afterEach(async () => {
  await units.killAll();
  rmSync(folder, { recursive: true, force: true });
});

let units: ReturnType<typeof processUnits>;

/** An instance of a warming group whose S3 accepts nothing: each save fails. */
function instance(warming: object, agent: object = {}) {
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
      agent: { driver: 'gha', ...agent },
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
    units: async () => sharedUnits(units.port),
    log: (line) => void lines.push(line),
  });
  const idle = () => expect.poll(async () => (await driver.status()).state, { timeout: 25_000 }).toBe('idle');
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

  test.each([
    [{}, {}, 'runner'],
    [{}, { user: 'ci' }, 'ci'],
    [{ user: 'builder' }, { user: 'ci' }, 'builder'],
    [{ user: 'root' }, {}, 'root'],
  ])('with the settings %j and the agent %j runs as its user: %#', async (warming, agent, user) => {
    const { driver, idle } = instance({ command: ['true'], ...warming }, agent);
    const users: string[] = [];
    const { start } = units.port;
    units.port.start = (unit) => {
      users.push(unit.user);
      return start(unit);
    };
    units.port.ensureUser = async (name) => void users.push(`${name} exists`);
    await driver.start();
    await idle();
    expect(users).toContain(user);
    expect(users[0]).toBe(`${user} exists`);
  });

  test('passes its output on, line by line, with the last one', async () => {
    const { driver, idle } = instance({
      command: ['sh', '-c', 'echo one; echo two >&2; printf three; exit 4'],
    });
    await driver.start();
    await idle();
    expect(lines).toEqual(expect.arrayContaining(['warming: one', 'warming: two', 'warming: three']));
  });

  test('saves nothing before everything is dead that its command has started', async () => {
    const child = join(folder, 'child');
    const { driver, idle } = instance({ command: ['sh', '-c', `sleep 600 & echo $! >${child}`] });
    await driver.start();
    await idle();
    expect(await isAlive(Number(readFileSync(child, 'utf8')))).toBe(false);
    expect(await units.port.list()).toEqual([]);
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

  test.each([
    ['starts its own', undefined],
    ['checks the sources out', { repository: '/nowhere', ref: 'main' }],
  ])('ends the command that a killed aw-runner has left, before it %s', async (_, checkout) => {
    const { driver, idle } = instance({
      command: ['sh', '-c', 'exit 1'],
      user: userInfo().username,
      ...(checkout && { checkout: { ...checkout, directory: join(folder, 'src') } }),
    });
    await units.port.start({
      name: 'warming',
      argv: ['/bin/sleep', '600'],
      user: 'root',
      directory: '/',
      env: {},
      secrets: {},
      logFile: join(folder, 'state/left.log'),
    });
    const pid = (await units.port.state('warming'))?.main?.pid ?? 0;
    expect(await isAlive(pid)).toBe(true);
    await driver.start();
    await idle();
    expect(await isAlive(pid)).toBe(false);
    expect(lines[0]).toBe('warming: the run is killed');
  });
});
