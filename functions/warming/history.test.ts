import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Message } from '../../shared/runtime/message.ts';
import { framesKey, manifestKey } from '../../shared/snapshot/layout.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import type { FakeSnapshot } from '../../shared/snapshot/testing/fake-snapshot.ts';
import { message as inboxMessage } from '../../test/support/sqs.ts';
import { handleWarmingMessage } from './handle.ts';
import { BUCKET, type FakeWarming, fakeWarming, idOf } from './testing/fake-warming.ts';
import { verifySnapshot } from './verification.ts';

/**
 * Any history of a set: schedules, instances that save sound and broken snapshots or fail, and messages about all that, which are
 * lost, late, doubled and out of order. At the end only the checks go on.
 */
type Step =
  | { do: 'due' | 'check' | 'crash' }
  | { do: 'save'; sound: boolean }
  | { do: 'deliver'; which: number }
  | { do: 'report'; what: 'broken' | 'unhealthy' | 'failed' }
  | { do: 'rot' }
  | { do: 'pass'; minutes: number };

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('due' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('check' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('save' as const), sound: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('deliver' as const), which: fc.nat({ max: 50 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('report' as const),
      what: fc.constantFrom('broken' as const, 'unhealthy' as const, 'failed' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rot' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('pass' as const), minutes: fc.constantFrom(1, 5, 20, 90, 600) }),
  },
);

/** A night with a run, the messages and faults that follow it, and the time until the next one. */
const night = fc.record({
  sound: fc.nat(5).map((draw) => draw > 0),
  faults: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(step, { maxLength: 4 }) },
  ),
  hours: fc.integer({ min: 6, max: 40 }),
});

/** @param onTop whether an instance saves on top of the snapshot that is current, as a runner does, or a whole image */
function player(warming: FakeWarming, onTop: boolean) {
  const messages: Message[] = [];
  /** Ids of what was saved. */
  const saved = new Map<string, { snapshot: FakeSnapshot; isSound: boolean }>();

  function post(source: string, detailType: string, detail: object): Message {
    const time = `${warming.now().toISOString().slice(0, 19)}Z`;
    const body = {
      id: 'x',
      source,
      'detail-type': detailType,
      account: '123456789012',
      region: 'r',
      time,
      detail,
    };
    const message = inboxMessage(body, { sentAt: warming.now() });
    messages.push(message);
    return message;
  }

  async function handle(message: Message | undefined): Promise<void> {
    if (!message) return;
    const outcome = await handleWarmingMessage(message, warming.deps);
    expect(['done', 'skipped'], JSON.stringify(outcome)).toContain(outcome.outcome);
  }

  const sender = () => ({
    group: 'gha/warming',
    instanceId: 'i-0123456789abcdef0',
    autoScalingGroup: 'aw-gha-warming',
    at: warming.now().toISOString(),
  });

  async function save(isSound: boolean): Promise<void> {
    const id = idNow(warming);
    if ((warming.capacity?.desired ?? 0) === 0 || saved.has(id)) return;
    const parent = onTop ? saved.get((await warming.pointer())?.current ?? '')?.snapshot : undefined;
    // Each save replaces one of five units, so objects end after some nights.
    const units = Array.from({ length: 5 }, (_, unit) => parent?.image.get(unit) ?? `unit ${unit} of ${id}`);
    units[saved.size % 5] = `only in ${id}`;
    const snapshot = warming.save(id, units, parent && { parent });
    if (!isSound) warming.corrupt(id);
    saved.set(id, { snapshot, isSound });
    post('aws.s3', 'Object Created', {
      bucket: { name: BUCKET },
      object: { key: manifestKey('default', id) },
    });
  }

  async function report(what: 'broken' | 'unhealthy' | 'failed'): Promise<void> {
    const current = (await warming.pointer())?.current;
    if (what === 'unhealthy') {
      post('aw.lifecycle', 'Runner Unhealthy', { report: 'Runner Unhealthy', ...sender(), reason: 'x' });
    } else if (what === 'failed') {
      post('aw.lifecycle', 'Runner Failed', {
        report: 'Runner Failed',
        ...sender(),
        stage: 's',
        reason: 'x',
      });
    } else if (current) {
      const snapshot = { set: 'default', outcome: 'cold', broken: { id: current, reason: 'x' } };
      const seconds = { restore: 1, boot: 1 };
      post('aw.lifecycle', 'Runner Ready', { report: 'Runner Ready', ...sender(), snapshot, seconds });
    }
  }

  /** The frames of the current snapshot are lost. */
  async function rot(): Promise<void> {
    const current = (await warming.pointer())?.current;
    const entry = current ? saved.get(current) : undefined;
    if (!entry) return;
    await warming.store.remove(framesKey('default', current ?? ''));
    entry.isSound = false;
  }

  async function play(one: Step): Promise<void> {
    switch (one.do) {
      case 'due':
        return handle(post('aw.schedule', 'Warming Run Due', { set: 'default' }));
      case 'check':
        return handle(post('aw.schedule', 'Warming Check', { set: 'default' }));
      case 'crash':
        if (warming.capacity) warming.capacity = { ...warming.capacity, desired: 0 };
        return;
      case 'save':
        return save(one.sound);
      case 'deliver':
        return handle(messages[one.which]);
      case 'report':
        return report(one.what);
      case 'rot':
        return rot();
      case 'pass':
        return warming.pass(one.minutes);
    }
  }
  return { play, saved };
}

function idNow(warming: FakeWarming): string {
  return `${warming
    .now()
    .toISOString()
    .replace(/[-:]|\.\d{3}/g, '')}-00000000`;
}

test('after any history the newest sound snapshot is current, no run is left and the group is at its minimum', async () => {
  expect(idNow(fakeWarming())).toBe(idOf(23, 3).replace(/.$/, '0'));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const warming = fakeWarming();
      const { play, saved } = player(warming, false);
      let current: string | null = null;
      for (const one of steps) {
        await play(one);
        const after = await warming.pointer();
        const next = after?.current ?? null;
        const isQuarantined = after?.quarantined.some(({ id }) => id === current);
        if (current !== null && !isQuarantined) expect((next ?? '') >= current).toBe(true);
        // One that is current again was verified when it was promoted, and the next check evaluates it again.
        if (next !== null && next > (current ?? '')) expect(saved.get(next)?.isSound, 'promoted').toBe(true);
        current = next;
      }
      // A run's deadline, the wait for a lost event, and one check for each that turns out broken.
      for (let tick = 0; tick < 20 + steps.length; tick += 1) {
        warming.pass(5);
        await play({ do: 'check' });
      }
      const pointer = await warming.pointer();
      const sound = [...saved].filter(([, { isSound }]) => isSound).map(([id]) => id);
      expect(pointer?.current ?? undefined).toBe(sound.sort().at(-1));
      expect((await warming.run())?.state).not.toBe('running');
      expect(warming.capacity?.desired).toBe(0);
      const failures = warming.metrics.filter((metric) => metric.startsWith('WarmingRunFailures')).length;
      const successes = warming.metrics.filter((metric) => metric.startsWith('WarmingRunSeconds')).length;
      const dues = steps.filter((one) => one.do === 'due').length;
      expect(failures + successes).toBeLessThanOrEqual(dues);
    }),
    { numRuns: 200 },
  );
}, 60_000);

test('after any history of snapshots on top of each other, and of prunings in between, what the pointer names is whole', async () => {
  let pruned = 0;
  let inherited = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(night, { minLength: 4, maxLength: 12 }), async (nights) => {
      const warming = fakeWarming({ keep: 2 });
      const { play, saved } = player(warming, true);
      for (const { sound, faults, hours } of nights) {
        await play({ do: 'due' });
        await play({ do: 'save', sound });
        for (const fault of faults) await play(fault);
        for (const minutes of [20, 20, hours * 60]) {
          warming.pass(minutes);
          await play({ do: 'check' });
        }
      }
      const pointer = (await readPointer(warming.store, 'default'))?.pointer;
      for (const named of [pointer?.current, ...(pointer?.previous ?? [])]) {
        if (!pointer || !named) continue;
        // A runner can fetch every frame: its object is there, and what it inherits is what the parent had.
        const { frames } = saved.get(named.id)?.snapshot.manifest ?? { frames: [] };
        inherited += frames.length - 1;
        for (const { id } of frames) expect(warming.store.keys()).toContain(framesKey('default', id));
        if (named !== pointer.current) continue;
        expect(await verifySnapshot(warming.store, 'default', named.id, pointer)).toMatchObject({
          verdict: 'sound',
        });
      }
      pruned += [...saved.keys()].filter(
        (id) => !warming.store.keys().includes(framesKey('default', id)),
      ).length;
    }),
    { numRuns: 40 },
  );
  expect(pruned).toBeGreaterThan(0);
  expect(inherited).toBeGreaterThan(0);
}, 60_000);
