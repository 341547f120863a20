import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fakeDisk } from '../testing/fake-disk.ts';
import { fakeKind, fakeProgram } from '../testing/fake-kind.ts';
import { fakeRegistration } from '../testing/fake-registration.ts';
import { fakeUnits } from '../testing/fake-units.ts';
import type { AgentKind } from './agent-kind.ts';
import { AgentChain } from './chain.ts';
import type { ChainRecord, ChainRecordFile } from './chain-record.ts';
import { type PlacedUnits, sharedUnits } from './placed-units.ts';
import type { RegistrationClient } from './registration-client.ts';
import type { AgentUnits } from './units.ts';

const INSTANCE = 'i-0123456789abcdef0';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-chain-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** An instance with its units, its disk and its provider. `restart` is a new aw-runner on it. */
function instance(change: Partial<AgentKind> = {}, isOnDisk = false) {
  const memory = fakeDisk(INSTANCE);
  const clock = { now: 1_000_000_000_000 };
  const units = fakeUnits();
  const lines: string[] = [];
  const registration = fakeRegistration({ instanceId: INSTANCE, now: () => clock.now });
  const kind = fakeKind(units, change);
  type Parts = {
    units?: AgentUnits;
    places?: Partial<PlacedUnits>;
    registration?: RegistrationClient;
    file?: ChainRecordFile;
  };
  const restart = ({
    units: port = units.port,
    places = {},
    registration: client = registration.client,
    file,
  }: Parts = {}) =>
    new AgentChain(
      kind,
      {
        instanceId: INSTANCE,
        stateDirectory: directory,
        jobSocket: '/job.sock',
        oneJob: false,
        units: { ...sharedUnits(port), ...places },
        registration: client,
        now: () => clock.now,
        log: (line) => lines.push(line),
      },
      {
        registration: client,
        program: fakeProgram,
        user: 'runner',
        processes: units.processes,
        ...(isOnDisk ? {} : { file: file ?? memory() }),
      },
    );
  const current = () => {
    const [unit] = units.running();
    if (!unit) throw new Error('no agent runs');
    return unit;
  };
  /** What `watch` does, each second. */
  const pass = async (chain: AgentChain, seconds: number, isDraining = false) => {
    let status = await chain.status();
    for (let second = 0; second < seconds; second += 1) {
      clock.now += 1_000;
      if (isDraining) await chain.stopIntake();
      status = await chain.status();
      if (status.state === 'gone' && !isDraining) await chain.start();
    }
    return status;
  };
  return { clock, units, lines, registration, restart, current, pass };
}

describe('the chain', () => {
  test('runs one agent after the other, each with a registration of its own', async () => {
    const one = instance();
    const chain = one.restart();
    for (let count = 1; count <= 3; count += 1) {
      await one.pass(chain, 12);
      expect(await chain.status()).toEqual({ state: 'idle' });
      one.units.work(one.current(), ['build']);
      expect(await chain.status()).toEqual({ state: 'busy', job: 'build' });
      await one.pass(chain, 5);
      one.units.end(one.current());
      expect(await chain.status()).toEqual({ state: 'gone' });
      expect(chain.facts().lastJobEnd).toBe(one.clock.now);
    }
    expect(one.units.most()).toBe(1);
    expect(one.units.started.map(({ spec }) => spec.name)).toEqual(['gha-1', 'gha-2', 'gha-3']);
    expect(one.registration.requests).toMatchObject([
      { previous: 'none' },
      { previous: 'job', last: `${INSTANCE}-1` },
      { previous: 'job', last: `${INSTANCE}-2` },
    ]);
  });

  test('logs each job once, with its name in quotes, and its end while the agent goes on', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    for (const _ of [1, 2]) {
      one.units.work(one.current(), ['a "job"\nagent i-1 has the job "forged"']);
      await one.pass(chain, 5);
      one.current().children = [];
      await one.pass(chain, 5);
    }
    const [start, end] = [
      String.raw`agent ${INSTANCE}-1 has the job "a \"job\"\nagent i-1 has the job \"forged\""`,
      `agent ${INSTANCE}-1: its job has ended`,
    ];
    expect(one.lines.filter((line) => line.includes('job'))).toEqual([start, end, start, end]);
  });

  test('waits 5 s, doubling to 60 s, after agents that end without a job', async () => {
    const one = instance();
    const chain = one.restart();
    one.units.onStart((unit) => one.units.end(unit));
    await one.pass(chain, 3_600);
    const count = one.units.started.length;
    expect(count).toBeGreaterThan(45);
    expect(count).toBeLessThan(66);
    expect(chain.facts().problem).toBeUndefined();
  });

  test('does not wait for a time that a wrong clock has set', async () => {
    const one = instance();
    one.registration.setFault(() => 'unavailable');
    await one.pass(one.restart(), 5);
    one.registration.setFault(() => undefined);
    one.clock.now -= 86_400_000;
    expect(await one.pass(one.restart(), 5)).toEqual({ state: 'idle' });
  });

  test('three faults in a row before an agent takes jobs are a problem of the instance', async () => {
    const one = instance();
    const chain = one.restart();
    one.units.onStart((unit) => one.units.end(unit, 1));
    await one.pass(chain, 300);
    expect(one.units.started).toHaveLength(3);
    expect(chain.facts().problem).toContain('ended 3 times with 1');
  });

  test('an agent whose version is refused is a problem at once', async () => {
    const one = instance();
    const chain = one.restart();
    one.units.onStart((unit) => one.units.end(unit, 7));
    await one.pass(chain, 100);
    expect(chain.facts().problem).toBe('agent too old');
    expect(one.units.started).toHaveLength(1);
  });

  test('logs how long after a job the place of the next one is ready', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    one.units.work(one.current(), ['build']);
    await chain.status();
    one.units.end(one.current());
    await chain.status();
    one.clock.now += 480;
    await chain.start();
    const ready = () => one.lines.filter((line) => line.includes('the place of the next job is ready'));
    expect(ready()).toEqual(['agent: the place of the next job is ready 0.48 s after the end of a job']);
    // An agent that ends without a job is no turnover.
    one.units.end(one.current());
    await one.pass(chain, 60);
    expect(ready()).toHaveLength(1);
  });

  test('starts again with the same registration where the exit code asks for it', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    one.units.end(one.current(), 2);
    expect(await chain.status()).toEqual({ state: 'starting' });
    await expect.poll(async () => (await chain.status()).state).toBe('idle');
    expect(one.units.started).toHaveLength(2);
    expect(one.registration.issued()).toBe(1);
  });

  test('an agent that is killed during its job is busy until the process of the job ends', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    const unit = one.current();
    one.units.work(unit, ['build']);
    await chain.status();
    unit.main = undefined;
    unit.ended = { code: null };
    expect(await chain.status()).toEqual({ state: 'busy', job: 'build' });
    expect(await one.restart().status()).toEqual({ state: 'busy', job: 'build' });
    unit.children = [];
    expect(await chain.status()).toEqual({ state: 'gone' });
    expect(chain.facts().lastJobEnd).toBe(one.clock.now);
  });

  test('calls at once start one agent', async () => {
    const one = instance();
    const chain = one.restart();
    await Promise.all([chain.start(), chain.start(), chain.status(), chain.start()]);
    await Promise.all([chain.start(), chain.status()]);
    expect(one.units.started).toHaveLength(1);
    expect(one.registration.requests).toHaveLength(1);
  });

  test('a record that is lost or of another instance starts no second agent', async () => {
    for (const text of [
      '',
      '{"version":1}',
      JSON.stringify({ version: 1, instanceId: 'i-00000000000000009' }),
    ]) {
      const one = instance({}, true);
      const first = one.restart();
      await one.pass(first, 12);
      // The number of a unit must not be used again by chance only.
      one.units.work(one.current());
      await first.status();
      one.units.end(one.current());
      await one.pass(first, 12);
      one.units.work(one.current());
      const lost = () => {
        writeFileSync(join(directory, 'agents.json'), text);
        return one.restart();
      };
      // Whatever is called first.
      await lost().start();
      await lost().stopIntake();
      expect(await lost().status()).toEqual({ state: 'starting' });
      const chain = lost();
      await one.pass(chain, 60);
      expect(await chain.status()).toMatchObject({ state: 'busy' });
      expect(one.units.started).toHaveLength(2);
      expect(one.units.most()).toBe(1);
      rmSync(join(directory, 'agents.json'));
    }
  });
});

describe('registration', () => {
  test('that is refused makes the chain wait, and is neither busy nor a problem', async () => {
    for (const fault of ['credential', 'settings', 'unavailable', 'unreachable'] as const) {
      rmSync(join(directory, 'agents.json'), { force: true });
      const one = instance();
      const chain = one.restart();
      one.registration.setFault(() => fault);
      expect(await one.pass(chain, 3_600)).toEqual({ state: 'gone' });
      // Each minute, after the first ones.
      expect(one.registration.requests.length).toBeGreaterThan(45);
      expect(one.registration.requests.length).toBeLessThan(70);
      expect(chain.facts().problem).toBeUndefined();
      expect(one.lines.length).toBeLessThan(5);
      one.registration.setFault(() => undefined);
      expect(await one.pass(chain, 80)).toEqual({ state: 'idle' });
    }
  });

  test('shows when the instance is in service', async () => {
    const one = instance();
    const chain = one.restart();
    one.registration.setFault(() => 'not-in-service');
    await one.pass(chain, 30);
    expect(one.registration.requests.length).toBeGreaterThan(8);
    expect(chain.facts().inServiceAt).toBeUndefined();
    one.registration.setFault(() => 'credential');
    await one.pass(chain, 5);
    expect(chain.facts().inServiceAt).toBeGreaterThan(one.clock.now - 5_000);
    expect(one.restart().facts().inServiceAt).toBeUndefined();
    const next = one.restart();
    await next.status();
    expect(next.facts().inServiceAt).toBeDefined();
  });

  test('shows until when it waits for its turn, and since when its agent listens', async () => {
    const one = instance();
    const chain = one.restart();
    one.registration.setFault(() => 'credential');
    await one.pass(chain, 5);
    expect(chain.facts().waitsUntil).toBeUndefined();
    one.registration.setFault(() => 'budget');
    await one.pass(chain, 60);
    const { waitsUntil = 0, listeningSince } = chain.facts();
    expect(listeningSince).toBeUndefined();
    expect(waitsUntil).toBeGreaterThan(one.clock.now - 60_000);
    one.registration.setFault(() => undefined);
    expect(await one.pass(chain, 120)).toEqual({ state: 'idle' });
    expect(chain.facts().waitsUntil).toBeLessThan(one.clock.now);
    expect(chain.facts().listeningSince).toBeGreaterThan(one.clock.now - 120_000);
  });

  test('an answer that is lost leaves nothing behind', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    one.units.work(one.current());
    await chain.status();
    one.units.end(one.current());
    one.registration.live.clear();
    let lost = 3;
    one.registration.setFault(() => (lost-- > 0 ? 'lost' : undefined));
    await one.pass(chain, 120);
    expect(await chain.status()).toEqual({ state: 'idle' });
    expect(
      one.registration.requests.slice(1).map((request) => 'previous' in request && request.previous),
    ).toEqual(expect.arrayContaining(['job', 'other']));
    expect([...one.registration.live]).toEqual([`${INSTANCE}-${one.registration.issued()}`]);
  });

  test('a refusal does not change how the last agent ended', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    one.units.work(one.current());
    await chain.status();
    one.units.end(one.current());
    let refusals = 2;
    one.registration.setFault(() => (refusals-- > 0 ? 'budget' : undefined));
    await one.pass(chain, 60);
    expect(one.registration.requests.slice(1)).toMatchObject(Array(3).fill({ previous: 'job' }));
  });
});

describe('a drain', () => {
  test('waits for a job, and then starts no further agent', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    one.units.work(one.current(), ['build']);
    expect(await one.pass(chain, 600, true)).toEqual({ state: 'busy', job: 'build' });
    one.units.end(one.current());
    expect(await one.pass(chain, 60, true)).toEqual({ state: 'gone' });
    await chain.start();
    expect(one.units.started).toHaveLength(1);
    expect(one.registration.requests).toHaveLength(1);
  });

  test('releases an idle agent, which then leaves by itself', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    await chain.stopIntake();
    await expect
      .poll(() => one.registration.requests.at(-1))
      .toEqual({ action: 'release', name: `${INSTANCE}-1` });
    one.units.end(one.current());
    expect(await one.pass(chain, 1, true)).toEqual({ state: 'gone' });
  });

  test('ends by SIGINT an agent that stays after its release', async () => {
    const one = instance();
    const chain = one.restart();
    one.units.onSignal((unit) => one.units.end(unit));
    await one.pass(chain, 12);
    const unit = one.current();
    expect(await one.pass(chain, 20, true)).toEqual({ state: 'gone' });
    expect(unit.signals).toEqual(['SIGINT']);
  });

  test('tries for 10 minutes to release an agent that its provider does not remove, then ends it', async () => {
    const one = instance();
    const chain = one.restart();
    one.units.onSignal((unit) => one.units.end(unit));
    await one.pass(chain, 12);
    expect(chain.facts().isReleasing).toBe(false);
    one.registration.onRelease('busy');
    expect(await one.pass(chain, 595, true)).toEqual({ state: 'idle' });
    expect(chain.facts().isReleasing).toBe(true);
    expect(await one.pass(chain, 15, true)).toEqual({ state: 'gone' });
  });

  test('tries it for 3 hours without an answer, and for 10 minutes after the first one', async () => {
    const one = instance();
    const chain = one.restart();
    one.units.onSignal((unit) => one.units.end(unit));
    await one.pass(chain, 12);
    one.registration.setFault(() => 'unavailable');
    expect(await one.pass(chain, 10_700, true)).toEqual({ state: 'idle' });
    expect(chain.facts().isReleasing).toBe(true);
    const other = instance();
    const next = other.restart();
    await other.pass(next, 12);
    other.registration.setFault(() => 'unavailable');
    await other.pass(next, 3_600, true);
    other.registration.setFault(() => undefined);
    other.registration.onRelease('busy');
    // Idle for an hour, and the answer can be true: the job is on its way.
    expect(await other.pass(next, 300, true)).toEqual({ state: 'idle' });
    expect(await one.pass(chain, 120, true)).toEqual({ state: 'gone' });
    expect(chain.facts().isReleasing).toBe(false);
  });

  test('does not end an agent that has taken a job meanwhile', async () => {
    const one = instance();
    const chain = one.restart();
    await one.pass(chain, 12);
    one.registration.onRelease('busy');
    await one.pass(chain, 300, true);
    one.units.work(one.current());
    expect(await one.pass(chain, 1_000, true)).toMatchObject({ state: 'busy' });
    expect(one.current().signals).toEqual([]);
  });

  test('a registration that arrives after the stop is released, and no agent starts', async () => {
    const one = instance();
    const chain = one.restart();
    const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { call } = one.registration.client;
    one.registration.client.call = async (request) => {
      asked.resolve();
      if (request.action === 'register') await answered.promise;
      return call(request);
    };
    const starting = chain.start();
    await asked.promise;
    await chain.stopIntake();
    expect(await chain.status()).toEqual({ state: 'starting' });
    answered.resolve();
    await starting;
    expect(await chain.status()).toEqual({ state: 'gone' });
    expect(one.units.started).toEqual([]);
    expect(one.registration.requests.map(({ action }) => action)).toEqual(['register', 'release']);
    expect([...one.registration.live]).toEqual([]);
  });
});

describe('SIGTERM is sent once in the life of a process', () => {
  const stop: AgentKind['stop'] = async (_, control) => control.signalOnce('SIGTERM');

  test('also after restarts of aw-runner', async () => {
    const one = instance({ stop });
    await one.pass(one.restart(), 12);
    one.units.work(one.current());
    for (let count = 0; count < 5; count += 1) await one.pass(one.restart(), 10, true);
    expect(one.current().signals).toEqual(['SIGTERM']);
  });

  test('a kill of aw-runner while it sends: a busy agent gets no second one, an idle agent does', async () => {
    const one = instance({ stop });
    await one.pass(one.restart(), 12);
    one.units.work(one.current());
    const { signal } = one.units.port;
    // It is unknown whether this one arrived.
    one.units.port.signal = () => new Promise<void>(() => {});
    void one.restart().stopIntake();
    await new Promise((resolve) => setTimeout(resolve, 50));
    one.units.port.signal = signal;
    await one.pass(one.restart(), 10, true);
    expect(one.current().signals).toEqual([]);
    one.current().children = [];
    await one.pass(one.restart(), 10, true);
    expect(one.current().signals).toEqual(['SIGTERM']);
  });
});

describe('aw-runner is killed at any step of the chain', () => {
  /** Calls of an aw-runner that is killed before or after its n-th call. Nothing after it happens, and nothing returns. */
  function killedAt(at: number, isAfter: boolean) {
    let count = 0;
    const { promise: killed, resolve } = Promise.withResolvers<boolean>();
    const kill = () => {
      resolve(false);
      return new Promise<never>(() => {});
    };
    const step = async <T>(call: () => Promise<T>): Promise<T> => {
      count += 1;
      if (count > at || (count === at && !isAfter)) return kill();
      const result = await call();
      return count >= at ? kill() : result;
    };
    return { step, killed };
  }

  async function scenario(at: number, isAfter: boolean): Promise<boolean> {
    const one = instance();
    const files = fakeDisk(INSTANCE);
    const { port } = one.units;
    const { step, killed } = killedAt(at, isAfter);
    const first = one.restart({
      file: files(step),
      units: {
        ...port,
        start: (spec) => step(() => port.start(spec)),
        remove: (name) => step(() => port.remove(name)),
        state: (name) => step(() => port.state(name)),
      },
      registration: { call: (request) => step(() => one.registration.client.call(request)) },
    });
    const life = (async () => {
      await one.pass(first, 12);
      one.units.work(one.current(), ['first']);
      await one.pass(first, 3);
      one.units.end(one.current());
      one.registration.live.clear();
      await one.pass(first, 20);
      return true;
    })();
    const isComplete = await Promise.race([life, killed]);

    const next = one.restart({ file: files() });
    const hasJob = one.units.running().some(({ children }) => children.length > 0);
    const status = await one.pass(next, 200);
    const where = `killed ${isAfter ? 'after' : 'before'} call ${at}`;
    expect(one.units.most(), where).toBe(1);
    expect(one.units.running(), where).toHaveLength(1);
    expect(status.state, where).toBe(hasJob ? 'busy' : 'idle');
    expect(one.registration.live.size, where).toBe(1);
    return isComplete;
  }

  test.each([false, true])(
    'no two agents, no lost job, no registration left behind: after the call %s',
    async (isAfter) => {
      let at = 1;
      while (!(await scenario(at, isAfter))) at += 1;
      expect(at).toBeGreaterThan(20);
    },
  );
});

test('the record names no secret', async () => {
  const one = instance({}, true);
  await one.pass(one.restart(), 12);
  const text = readFileSync(join(directory, 'agents.json'), 'utf8');
  expect(JSON.parse(text) as ChainRecord).toMatchObject({ last: `${INSTANCE}-1`, agent: { unit: 'gha-1' } });
  expect(text).not.toContain('config-1');
});

describe('the place of a job', () => {
  /** Records the order of what happens. */
  function recorded(one: ReturnType<typeof instance>) {
    const order: string[] = [];
    const client: RegistrationClient = {
      call(request) {
        order.push(request.action);
        return one.registration.client.call(request);
      },
    };
    const places: Partial<PlacedUnits> = {
      prepare: async (place) => void order.push(`prepare ${place}`),
      start: async ({ place, ...unit }) => {
        order.push(`start ${unit.name} in ${place}`);
        await one.units.port.start(unit);
      },
      discard: async (place) => void order.push(`discard ${place}`),
    };
    return { order, parts: { places, registration: client } };
  }

  test('is there before the request, and removed before the next one', async () => {
    const one = instance();
    const { order, parts } = recorded(one);
    const chain = one.restart(parts);
    await one.pass(chain, 12);
    one.units.end(one.current());
    await one.pass(chain, 12);
    expect(order).toEqual([
      'prepare gha-1',
      'register',
      'start gha-1 in gha-1',
      'discard gha-1',
      'prepare gha-2',
      'register',
      'start gha-2 in gha-2',
    ]);
  });

  test('is the same for another start with the same registration', async () => {
    const one = instance();
    const { order, parts } = recorded(one);
    const chain = one.restart(parts);
    await one.pass(chain, 12);
    one.units.end(one.current(), 2);
    await expect.poll(() => order.at(-1)).toBe('start gha-1 in gha-1');
    await chain.status();
    await expect.poll(() => order.at(-1)).toBe('start gha-2 in gha-1');
    expect(order.filter((each) => each === 'prepare gha-1')).toHaveLength(1);
  });

  test('that cannot be made asks for no registration, and is a problem of the instance after three tries', async () => {
    const one = instance();
    const { order, parts } = recorded(one);
    const chain = one.restart({
      ...parts,
      places: { ...parts.places, prepare: () => Promise.reject(new Error('no room for a tree')) },
    });
    await one.pass(chain, 120);
    expect(order.filter((each) => each === 'register')).toEqual([]);
    expect(chain.facts().problem).toBe('the isolation of jobs cannot be set up: Error: no room for a tree');
  });

  test('that cannot be removed is a problem at once, and no further agent starts', async () => {
    const one = instance();
    const { order, parts } = recorded(one);
    const chain = one.restart({
      ...parts,
      places: { ...parts.places, discard: () => Promise.reject(new Error('held by cat')) },
    });
    await one.pass(chain, 12);
    one.units.end(one.current());
    await one.pass(chain, 120);
    expect(chain.facts().problem).toBe('the isolation of jobs cannot be reset: Error: held by cat');
    expect(order.filter((each) => each === 'register')).toHaveLength(1);
  });

  test('of an agent whose registration was refused is removed', async () => {
    const one = instance();
    const { order, parts } = recorded(one);
    one.registration.setFault(() => 'credential');
    await one.pass(one.restart(parts), 12);
    expect(order.slice(0, 3)).toEqual(['prepare gha-1', 'register', 'discard gha-1']);
  });

  test('of an agent that ends while aw-runner is away is removed by the next one', async () => {
    const one = instance();
    const { order, parts } = recorded(one);
    await one.pass(one.restart(parts), 12);
    one.units.end(one.current());
    await one.pass(one.restart(parts), 12);
    expect(order.slice(3, 5)).toEqual(['discard gha-1', 'prepare gha-2']);
  });
});
