import type { AgentStatus } from '../agents/driver.ts';
import { parseConfig } from '../config.ts';
import type { ReportBody } from '../reporter.ts';
import type { Runner } from '../runner.ts';
import type { RestoreResult } from '../snapshot/index.ts';
import type { RunnerState, StateFile } from '../state.ts';
import { newState } from '../state.ts';

export const INSTANCE = 'i-0123456789abcdef0';

/** What goes wrong, or stands, on a machine. */
export type MachineSettings = {
  restore?: (signal: AbortSignal) => Promise<RestoreResult>;
  start?: () => Promise<void>;
  target?: () => Promise<string | undefined>;
  isReclaimed?: boolean;
  isWarm?: boolean;
  config?: object;
  directory: string;
};

/** A machine in memory: its disk survives `restart()`, a new program on the same machine. */
export function fakeMachine(settings: MachineSettings) {
  const happened: string[] = [];
  const sent: ReportBody[] = [];
  const lines: string[] = [];
  let stored: RunnerState | undefined;
  let agent: AgentStatus = { state: 'gone' };
  let unsendable = false;
  let killAt = Number.POSITIVE_INFINITY;
  let steps = 0;

  /** Every step that a kill can come before or after. */
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
          directories: { layers: settings.directory, warm: settings.directory, state: settings.directory },
          agent: { driver: 'simulated', url: 'http://127.0.0.1:1', queue: 'q', command: ['x'] },
          pollSeconds: 0.1,
          ...settings.config,
        }),
        'test',
      ),
      instanceId: INSTANCE,
      host: {
        async start() {
          step('agent starts');
          await settings.start?.();
          agent = { state: 'idle', since: new Date(0) };
        },
        async stopIntake() {
          step('intake stops');
        },
        status: async () => agent,
      },
      metadata: {
        instanceId: async () => INSTANCE,
        targetLifecycleState: settings.target ?? (async () => 'InService'),
        isReclaimed: async () => settings.isReclaimed ?? false,
      },
      reporter: {
        async send(body) {
          if (unsendable) throw new Error('no network');
          step(`says ${body.report}`);
          sent.push(body);
        },
        async trySend(body) {
          if (body.report !== 'Runner Heartbeat') sent.push(body);
        },
      },
      states,
      async restore(signal) {
        step('restores');
        return (await settings.restore?.(signal)) ?? defaults;
      },
      isWarm: async () => settings.isWarm ?? true,
      now: Date.now,
      log: (line) => lines.push(line),
    };
  }

  return {
    happened,
    sent,
    lines,
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

/** The program is gone; nothing after it happens. */
export class Killed extends Error {}
