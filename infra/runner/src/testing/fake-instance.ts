import type { AgentFacts, AgentStatus } from '../agents/driver.ts';
import { type JobCache, noCache } from '../cache/job-cache.ts';
import { parseConfig } from '../config.ts';
import type { Runner } from '../create-runner.ts';
import { type Health, instanceHealth } from '../health.ts';
import type { ReportBody } from '../reporter.ts';
import type { RestoreResult } from '../snapshot/index.ts';
import type { RunnerState, StateFile } from '../state.ts';
import { newState } from '../state.ts';

export const INSTANCE = 'i-0123456789abcdef0';

/** The faults and the state of a simulated instance. */
export type InstanceSettings = {
  restore?: (signal: AbortSignal) => Promise<RestoreResult>;
  prepare?: (signal: AbortSignal) => Promise<void>;
  start?: () => Promise<void>;
  stopIntake?: () => Promise<void>;
  status?: () => Promise<AgentStatus>;
  facts?: () => AgentFacts;
  changed?: (signal: AbortSignal) => Promise<void>;
  trySend?: (body: ReportBody) => Promise<boolean>;
  health?: Partial<Health>;
  target?: () => Promise<string | undefined>;
  reclaimedAt?: number;
  cache?: JobCache;
  isWarm?: boolean;
  config?: object;
  directory: string;
};

/** An instance in memory. Its disk survives `restart()`, which is a new program on the same instance. */
export function fakeInstance(settings: InstanceSettings) {
  const happened: string[] = [];
  const sent: ReportBody[] = [];
  const heartbeats: ReportBody[] = [];
  const lines: string[] = [];
  let stored: RunnerState | undefined;
  let agent: AgentStatus = { state: 'gone' };
  let unsendable = false;
  let killAt = Number.POSITIVE_INFINITY;
  let steps = 0;

  /** Every step that a kill can precede. */
  function step(what: string): void {
    steps += 1;
    if (steps >= killAt) throw new Killed();
    happened.push(what);
  }

  const states: StateFile = {
    async read(instanceId) {
      return stored?.instanceId === instanceId ? structuredClone(stored) : undefined;
    },
    async write(state) {
      step(`state ${state.phase}`);
      stored = structuredClone(state);
    },
    async flush() {},
    async update(instanceId, change) {
      const next = { ...(stored ?? newState(instanceId, 0)), ...change };
      await states.write(next);
      return next;
    },
  };
  const defaults: RestoreResult = { outcome: 'restored', id: 's1', fetchedBytes: 1, seconds: 2 };

  function restart(): Runner {
    return {
      config: parseConfig(
        JSON.stringify({
          version: 1,
          region: 'eu-west-1',
          bucket: 'b',
          reportsUrl: 'http://127.0.0.1:1/1/reports',
          group: 'gha/default',
          autoScalingGroup: 'aw-gha-default',
          warmingSet: 'default',
          directories: { images: settings.directory, warm: settings.directory, state: settings.directory },
          agent: { driver: 'gha' },
          pollSeconds: 0.1,
          ...settings.config,
        }),
        'test',
      ),
      instanceId: INSTANCE,
      agent: {
        async prepare(signal) {
          step('agent is prepared');
          await settings.prepare?.(signal);
        },
        async start() {
          step('agent starts');
          await settings.start?.();
          agent = { state: 'idle' };
        },
        async stopIntake() {
          step('intake stops');
          await settings.stopIntake?.();
        },
        status: settings.status ?? (async () => agent),
        facts: settings.facts ?? (() => ({ registers: false })),
        ...(settings.changed && { changed: settings.changed }),
      },
      cache: settings.cache ?? noCache,
      metadata: {
        instanceId: async () => INSTANCE,
        targetLifecycleState: settings.target ?? (async () => 'InService'),
        reclaimedAt: async () => settings.reclaimedAt ?? null,
      },
      reporter: {
        async send(body) {
          if (unsendable) throw new Error('no network');
          step(`sends ${body.report}`);
          sent.push(body);
        },
        async trySend(body) {
          if (unsendable || (await settings.trySend?.(body)) === false) return false;
          if (body.report === 'Runner Heartbeat') heartbeats.push(body);
          else sent.push(body);
          return true;
        },
      },
      states,
      async restore(signal) {
        step('restores');
        return (await settings.restore?.(signal)) ?? defaults;
      },
      health: {
        ...instanceHealth(settings.directory, [settings.directory], (line) => lines.push(line)),
        ...settings.health,
      },
      isWarm: async () => settings.isWarm ?? true,
      now: Date.now,
      log: (line) => lines.push(line),
    };
  }

  return {
    happened,
    sent,
    heartbeats,
    lines,
    states,
    restart,
    state: () => stored,
    setAgent: (status: AgentStatus) => (agent = status),
    setUnsendable: (value: boolean) => (unsendable = value),
    /** SIGKILL before the step with this number, counted from now. */
    killBefore(count: number) {
      steps = 0;
      killAt = count;
    },
    steps: () => steps,
  };
}

/** The program was killed; nothing after it happens. */
export class Killed extends Error {}
