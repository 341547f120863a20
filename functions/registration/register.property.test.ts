import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import type { RegistrationRequest } from '../../shared/fleet/registration.ts';
import { envelope, message, outcomeOf } from '../../test/support/sqs.ts';
import { handleMessage } from './handle-message.ts';
import { PEM } from './testing/fake-github.ts';
import {
  answerBody,
  type FakeRegistration,
  fakeRegistration,
  INSTANCE,
} from './testing/fake-registration.ts';

/*
 * One instance and its agents under any history of faults. Whatever happened: once the faults are over, the instance gets a
 * registration within the time that a provider may call the previous one busy, and it never has more than one that could take a job
 * beside a job that runs.
 */

const GENERATE = 'POST /repos/acme/monorepo/actions/runners/generate-jitconfig';
const GOOD_SECRET = JSON.stringify({ appId: 12, privateKey: PEM });

/** One step of a history. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.constant('request' as const) },
  { weight: 3, arbitrary: fc.constantFrom('agent runs a job' as const, 'agent ends without a job' as const) },
  fc.constantFrom(
    'two requests' as const,
    'answer to the instance is lost' as const,
    'answer of the provider is lost' as const,
    'provider refuses once' as const,
    'provider calls everything busy' as const,
    'provider is right again' as const,
    'secret breaks' as const,
    'secret is repaired' as const,
    'rate limit' as const,
    'bucket fails once' as const,
    'new environment' as const,
    'restart of the instance program' as const,
    'release' as const,
    'sweep' as const,
  ),
);
type Step = { what: typeof step extends fc.Arbitrary<infer T> ? T : never; seconds: number };

/** The instance: what it knows of its last agent. */
type Runner = { last: string | undefined; previous: 'none' | 'job' | 'other'; agent: string | undefined };

class History {
  readonly fake: FakeRegistration = fakeRegistration();
  readonly runner: Runner = { last: undefined, previous: 'none', agent: undefined };

  constructor() {
    this.fake.launch();
    vi.stubGlobal('fetch', this.fake.github.fetch);
  }

  async play({ what, seconds }: Step): Promise<void> {
    const { fake, runner } = this;
    const { github } = fake;
    fake.pass(seconds);
    switch (what) {
      case 'request':
        return this.request();
      case 'two requests':
        await Promise.all([this.request(), this.request(false)]);
        return;
      case 'answer to the instance is lost':
        return this.request(false);
      case 'answer of the provider is lost':
        github.lost.add(GENERATE);
        await this.request();
        github.lost.clear();
        return;
      case 'provider refuses once':
        github.answer('', { status: 502 }, true);
        return;
      case 'provider calls everything busy':
        github.answer('DELETE', { status: 422 });
        return;
      case 'provider is right again':
        github.answers.length = 0;
        return;
      case 'secret breaks':
        fake.secrets.set('app-secret', 'broken');
        fake.restart();
        return;
      case 'secret is repaired':
        fake.secrets.set('app-secret', GOOD_SECRET);
        return;
      case 'rate limit':
        github.answer(GENERATE, { status: 429, headers: { 'retry-after': '120' } }, true);
        return;
      case 'bucket fails once':
        this.failNextWrite();
        return;
      case 'new environment':
        fake.restart();
        return;
      case 'restart of the instance program':
        // The agent ends with its cgroup; the program has the last registration on disk.
        if (runner.agent !== undefined) this.endAgent(false);
        return;
      case 'agent runs a job':
        if (runner.agent !== undefined) this.endAgent(true);
        return;
      case 'agent ends without a job':
        if (runner.agent !== undefined) this.endAgent(false);
        return;
      case 'release':
        if (runner.agent === undefined) return;
        await fake.request({ action: 'release', name: runner.agent }).catch(() => undefined);
        return;
      case 'sweep': {
        const sweep = message(envelope('aw.schedule', 'Registration Sweep', {}));
        await outcomeOf(handleMessage(sweep, fake.deps));
        return;
      }
    }
  }

  /** @param received whether the answer reaches the instance */
  async request(received = true): Promise<void> {
    const { fake, runner } = this;
    if (runner.agent !== undefined) return;
    const { last, previous } = runner;
    const body: RegistrationRequest = { action: 'register', previous, ...(last !== undefined && { last }) };
    const answer = await fake.request(body).catch(() => undefined);
    const parsed = answer && answerBody(answer);
    if (!received || parsed?.outcome !== 'registered') return;
    runner.agent = parsed.registration.name;
    const known = fake.github.named(runner.agent);
    if (known) known.status = 'online';
  }

  private endAgent(ranJob: boolean): void {
    const { fake, runner } = this;
    const known = fake.github.named(runner.agent ?? '');
    if (ranJob) fake.github.runners = fake.github.runners.filter((one) => one !== known);
    else if (known) known.status = 'offline';
    runner.last = runner.agent;
    runner.previous = ranJob ? 'job' : 'other';
    runner.agent = undefined;
  }

  private failNextWrite(): void {
    const { store } = this.fake;
    const { write } = store;
    store.write = async () => {
      store.write = write;
      throw Object.assign(new Error('503 Slow Down'), { name: 'SlowDown' });
    };
  }

  /** Every fault is over. */
  heal(): void {
    this.fake.github.answers.length = 0;
    this.fake.secrets.set('app-secret', GOOD_SECRET);
  }

  /** What could take a job. An offline registration takes none. */
  live(): string[] {
    return this.fake.github.runners.filter(({ status }) => status === 'online').map(({ name }) => name);
  }
}

afterEach(() => {
  vi.unstubAllGlobals();
});

test('an instance is never locked out, and never has two agents that could take a job', async () => {
  const steps = fc.array(fc.record({ what: step, seconds: fc.constantFrom(0, 1, 5, 10, 30, 70, 300) }), {
    maxLength: 40,
  });
  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      const world = new History();
      for (const one of history) {
        await world.play(one);
        expect(world.live().length).toBeLessThanOrEqual(1);
      }
      world.heal();
      if (world.runner.agent !== undefined)
        await world.play({ what: 'agent ends without a job', seconds: 0 });
      // The longest wait that remains is a rate limit, spread over as long again.
      for (let waited = 0; waited < 300 && world.runner.agent === undefined; waited += 10) {
        await world.play({ what: 'request', seconds: 10 });
      }
      expect(world.runner.agent).toBeDefined();
      // What is left beside it is gone after the next sweep.
      await world.play({ what: 'sweep', seconds: 300 });
      expect(world.fake.github.runners.map(({ name }) => name)).toEqual([world.runner.agent]);
    }),
    { numRuns: 50 },
  );
});

test('an instance is not locked out by a provider that calls its registration busy for ever', async () => {
  const world = new History();
  await world.request();
  await world.play({ what: 'agent ends without a job', seconds: 60 });
  await world.play({ what: 'provider calls everything busy', seconds: 0 });
  for (let waited = 0; waited < 16 * 60 && world.runner.agent === undefined; waited += 10) {
    await world.play({ what: 'request', seconds: 10 });
  }
  expect(world.runner.agent).toBe(`${INSTANCE}-2`);
});
