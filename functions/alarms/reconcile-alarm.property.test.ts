import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RetryableError } from '../../shared/runtime/errors.ts';
import { priorStateIn } from './adapters/alarm-history.ts';
import type { Alarm } from './alarm.ts';
import type { AlarmEvent } from './alarm-event.ts';
import type { AlarmDeps } from './ports.ts';
import { reconcileAlarm } from './reconcile-alarm.ts';

/**
 * One alarm has any history. Its events are delivered once or twice, in any order, at any time. Their records run side by side
 * in any interleaving, and some of their calls fail. At the end PagerDuty has an open incident exactly if the alarm is in alarm,
 * or was in alarm before its data were missing.
 */

type State = Alarm['state'];
type Change = { to: State | 'gone'; severity: 'critical' | 'error'; copies: 1 | 2 };

const ARN = 'arn:aws:cloudwatch:us-east-1:123456789012:alarm:aw-x';
const START = Date.UTC(2026, 10, 23, 3);

/** The part of CloudWatch and PagerDuty that concerns one alarm. */
class World {
  seconds = 0;
  state: State | undefined = 'INSUFFICIENT_DATA';
  since = new Date(START);
  severity = 'error';
  history: { type: string; data: string }[] = [
    { type: 'ConfigurationUpdate', data: JSON.stringify({ type: 'Create' }) },
  ];
  /** Keys through which the incident is open. */
  readonly open = new Set<string>();
  /** Events that were sent, each as often as it is delivered. */
  readonly events: AlarmEvent[] = [];

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
      // Created again: an alarm begins without data and without an event.
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
      suppression: { kind: 'none' },
      metric: undefined,
      dimensions: {},
    };
  }

  shouldBeOpen(): boolean {
    if (this.state === undefined) return false;
    return (this.state === 'INSUFFICIENT_DATA' ? priorStateIn(this.history) : this.state) === 'ALARM';
  }

  private remember(type: string, data: object): void {
    this.history.unshift({ type, data: JSON.stringify(data) });
  }

  private emit(reportedState: AlarmEvent['reportedState'], copies: number): void {
    const common = { name: 'aw-x', arn: ARN, group: undefined, at: this.since };
    const snapshot = this.alarm();
    const event: AlarmEvent =
      reportedState === 'ALARM' && snapshot
        ? { ...common, reportedState, snapshot }
        : { ...common, reportedState: reportedState as 'OK' };
    for (let copy = 0; copy < copies; copy += 1) this.events.push(event);
  }
}

const throttled = () => Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' });

/** The scheduler decides when each call reaches its service and when its answer arrives. */
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
      get: () => call(() => world.alarm()),
      priorState: () => call(() => priorStateIn(world.history) ?? 'unknown'),
      tags: () => call(() => ({ 'hearth:severity': 'error' })),
      inAlarm: () => call(() => []),
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
    seriesResolves: new Map(),
    prefix: 'aw',
    metrics: { add: () => {} },
    logger: { warn: () => {} },
    clock: { now: () => world.now() },
  };
}

/** Receives one message until its record ends, as the inbox does. */
async function receive(event: AlarmEvent, world: World, turn: () => Promise<unknown>, deps: AlarmDeps) {
  for (let receiveCount = 1; ; receiveCount += 1) {
    await turn();
    try {
      await reconcileAlarm(event, receiveCount, deps);
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

test('after any history and any order of events PagerDuty agrees with the alarm', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.array(fc.boolean(), { maxLength: 8 }),
      fc.scheduler(),
      async (changes, failures, scheduler) => {
        const world = new World();
        const turn = () => scheduler.schedule(Promise.resolve());
        const deps = depsOf(world, turn, [...failures]);
        const history = (async () => {
          const records: Promise<void>[] = [];
          for (const next of changes) {
            await turn();
            world.apply(next);
            for (const event of world.events.splice(0)) records.push(receive(event, world, turn, deps));
          }
          await Promise.all(records);
        })();
        await scheduler.waitFor(history);
        expect(world.open.size > 0).toBe(world.shouldBeOpen());
      },
    ),
    { numRuns: 600 },
  );
});
