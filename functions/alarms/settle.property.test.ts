import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RetryableError } from '../../shared/runtime/errors.ts';
import type { AlarmHint } from './alarm-event.ts';
import { lastDefinite } from './alarm-history.ts';
import type { Alarm } from './alarm-source.ts';
import { type AlarmDeps, settle } from './settle.ts';

/**
 * One alarm lives through any history, its events are delivered once or twice, in any order, at any time, and their
 * records run beside each other in any interleaving, some of their calls failing. In the end PagerDuty has an incident
 * open exactly if the alarm is, or was before it had no data, in alarm.
 */

type State = Alarm['state'];
type Change = { to: State | 'gone'; severity: 'critical' | 'error'; copies: 1 | 2 };

const ARN = 'arn:aws:cloudwatch:us-east-1:123456789012:alarm:aw-x';
const START = Date.UTC(2026, 10, 23, 3);

/** CloudWatch and PagerDuty, as far as one alarm shows in them. */
class World {
  seconds = 0;
  state: State | undefined = 'INSUFFICIENT_DATA';
  since = new Date(START);
  severity = 'error';
  history: { type: string; data: string }[] = [];
  /** Keys through which the incident is open. */
  readonly open = new Set<string>();
  /** Events that were sent, each as often as it is delivered. */
  readonly events: AlarmHint[] = [];

  now(): Date {
    return new Date(START + this.seconds * 1000);
  }

  apply({ to, severity, copies }: Change): void {
    this.seconds += 1;
    this.severity = severity;
    if (to === this.state || (to === 'gone' && this.state === undefined)) return;
    this.since = this.now();
    if (to === 'gone') {
      this.state = undefined;
      this.remember('ConfigurationUpdate', { type: 'Delete' });
      this.emit('deleted', copies);
      return;
    }
    if (this.state === undefined) {
      // Made anew: an alarm always begins without data, and tells nobody.
      this.state = 'INSUFFICIENT_DATA';
      this.remember('ConfigurationUpdate', { type: 'Create' });
      return;
    }
    this.remember('StateUpdate', { oldState: { stateValue: this.state }, newState: { stateValue: to } });
    this.state = to;
    this.emit(to, copies);
  }

  alarm(): Alarm | undefined {
    if (this.state === undefined) return undefined;
    return {
      name: 'aw-x',
      arn: ARN,
      state: this.state,
      reason: '',
      since: this.since,
      description: `severity: ${this.severity}`,
      muted: false,
      metric: undefined,
      dimensions: {},
    };
  }

  shouldBeOpen(): boolean {
    if (this.state === undefined) return false;
    return (this.state === 'INSUFFICIENT_DATA' ? lastDefinite(this.history) : this.state) === 'ALARM';
  }

  private remember(type: string, data: object): void {
    this.history.unshift({ type, data: JSON.stringify(data) });
  }

  private emit(said: AlarmHint['said'], copies: number): void {
    const common = { name: 'aw-x', arn: ARN, at: this.since };
    const told = this.alarm();
    const hint: AlarmHint =
      said === 'ALARM' && told ? { ...common, said, told } : { ...common, said: said as 'OK' };
    for (let copy = 0; copy < copies; copy += 1) this.events.push(hint);
  }
}

const throttled = () => Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' });

/** Every call takes a turn of the scheduler's choice before it reaches its service, and another before it is answered. */
function depsOf(world: World, turn: () => Promise<unknown>, failures: boolean[]): AlarmDeps {
  const call = async <T>(action: () => T): Promise<T> => {
    await turn();
    if (failures.pop()) throw throttled();
    const result = action();
    await turn();
    return result;
  };
  return {
    alarms: {
      look: () => call(() => world.alarm()),
      before: () => call(() => lastDefinite(world.history)),
      tags: () => call(() => ({})),
    },
    pager: {
      send: (event, key) =>
        call(() => {
          if (event.event_action === 'trigger') world.open.add(key);
          else world.open.delete(key);
        }),
    },
    routing: {
      get: async () =>
        new Map([
          ['default', 'd'],
          ['critical', 'c'],
        ]),
      refresh: () => {},
    },
    count: () => {},
    warn: () => {},
    clock: { now: () => world.now() },
  };
}

/** Receives one message until it ends, as the inbox would. */
async function receive(hint: AlarmHint, world: World, turn: () => Promise<unknown>, deps: AlarmDeps) {
  for (let receiveCount = 1; ; receiveCount += 1) {
    await turn();
    try {
      await settle(hint, receiveCount, deps);
      return;
    } catch (error) {
      const expected = error instanceof RetryableError || (error as Error).name === 'ThrottlingException';
      if (!expected) throw error;
      world.seconds += 5;
    }
  }
}

const change: fc.Arbitrary<Change> = fc.record({
  to: fc.constantFrom('OK', 'ALARM', 'INSUFFICIENT_DATA', 'gone'),
  severity: fc.constantFrom('critical', 'error'),
  copies: fc.constantFrom(1, 2),
});

test('whatever the history and the order of its events, PagerDuty ends up agreeing with the alarm', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.array(fc.boolean(), { maxLength: 8 }),
      fc.scheduler(),
      async (changes, failures, scheduler) => {
        const world = new World();
        const turn = () => scheduler.schedule(Promise.resolve());
        const deps = depsOf(world, turn, [...failures]);
        const life = (async () => {
          const records: Promise<void>[] = [];
          for (const next of changes) {
            await turn();
            world.apply(next);
            for (const hint of world.events.splice(0)) records.push(receive(hint, world, turn, deps));
          }
          await Promise.all(records);
        })();
        await scheduler.waitFor(life);
        expect(world.open.size > 0).toBe(world.shouldBeOpen());
      },
    ),
    { numRuns: 600 },
  );
});
