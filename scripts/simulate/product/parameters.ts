import { singleFlight } from '../../../functions/parameters/coalesce.ts';
import {
  handleParametersMessage,
  type ParametersDeps,
  RETRY_FOR_MS,
} from '../../../functions/parameters/handle.ts';
import type { GroupCapacity, Parameter, ReconcileDeps } from '../../../functions/parameters/ports.ts';
import { reconcile } from '../../../functions/parameters/reconcile.ts';
import { DECLARED_PARAMETERS_KEY } from '../../../shared/fleet/bucket-keys.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import { MINUTE, SECOND } from '../kernel.ts';
import { PREFIX } from '../world.ts';
import type { Deployment } from './functions.ts';

export { RETRY_FOR_MS };

const ROOT = '/aw';

/** Pause between two writes of the function, in milliseconds (`functions/parameters/apply.ts`). */
const WRITE_PAUSE_MS = 350;

/** A pass reads 10 parameters per call, one call after the other. */
const READ_MS = 40;

/**
 * The function `parameters`. A pass takes no virtual time: its own clock advances with its calls instead, so its limits for time and rate
 * hold as in a deployment.
 */
export function parametersFunction(
  deployment: Deployment,
  seen: (groups: GroupCapacity[]) => GroupCapacity[] = (groups) => groups,
) {
  const { bucket, autoScaling, metrics, clock, kernel, calls, world } = deployment;
  const tree = new Map<string, Parameter>();
  /** What the calls of the present pass have taken, in milliseconds. */
  let spent = 0;
  const now = () => kernel.now + spent;
  const own = { now: () => new Date(now()) };
  /** `longestLag` in minutes. */
  const facts = { passes: 0, writes: 0, longestLag: 0 };
  const changedAt = new Map<string, number>();
  const rightAt = new Map<string, number>();
  const declared = Object.fromEntries(
    world.groups.map(({ id, settings }) => [
      `${ROOT}/groups/${id}`,
      JSON.stringify({ max: settings.maxRunners }),
    ]),
  );
  bucket.put(
    DECLARED_PARAMETERS_KEY,
    JSON.stringify({ version: 1, parameters: declared, warmingSets: world.warming.map(({ set }) => set) }),
  );

  const deps: ReconcileDeps = {
    ...{ prefix: PREFIX, root: ROOT, store: bucket, metrics, clock: own, pauseMs: 0 },
    groups: {
      list: async () =>
        seen(
          [...autoScaling.listGroups().values()].map(({ name, min, max, desired, instances }) => ({
            ...{ name, min, max, desired },
            inService: instances.filter(({ lifecycleState }) => lifecycleState === 'InService').length,
            draining: instances.filter(({ lifecycleState }) => lifecycleState.startsWith('Terminating'))
              .length,
          })),
        ),
    },
    regions: [
      {
        region: 'home',
        port: {
          list: async () => {
            for (let page = 0; page * 10 < Math.max(1, tree.size); page += 1) {
              spent += READ_MS;
              calls.count('ssm reads', '', now());
            }
            return [...tree.values()];
          },
          put: async (name, value) => {
            spent += WRITE_PAUSE_MS;
            calls.count('ssm writes', '', now());
            facts.writes += 1;
            tree.set(name, { name, value, type: 'String', modifiedAt: own.now() });
            changedAt.set(name, now());
          },
          remove: async (names) => {
            spent += WRITE_PAUSE_MS;
            calls.count('ssm writes', '', now());
            for (const name of names) tree.delete(name);
          },
        },
      },
    ],
    deletions: { external: new Set(), own: new Set() },
    logger: { debug() {}, info() {}, error() {}, warn: (line) => deployment.log(`parameters: ${line}`) },
  };
  const passes = singleFlight(
    (signal) => {
      facts.passes += 1;
      return reconcile(deps, signal);
    },
    ({ outcome }) => outcome.outcome === 'done',
    clock,
    0,
  );
  const all: ParametersDeps = { ...deps, bucket: 'snapshots', passes };
  let busyUntil = 0;

  return {
    /** Its two environments are busy with the present pass: messages wait in the queue. */
    isUp: () => kernel.now >= busyUntil,
    async handle(message: Message) {
      spent = 0;
      const outcome = await handleParametersMessage(message, all);
      busyUntil = Math.max(busyUntil, kernel.now + spent + SECOND);
      return outcome;
    },
    facts,
    /** The group whose capacity has been wrong for the longest time without a write, and for how long. */
    stalest(): { id: string; milliseconds: number } {
      let stalest = { id: '', milliseconds: 0 };
      for (const { id, settings } of world.groups) {
        const name = `${ROOT}/groups/${id}/capacity`;
        const group = autoScaling.entries.get(settings.autoScalingGroup)?.group;
        const shown = JSON.parse(tree.get(name)?.value ?? '{"desired":0}') as { desired: number };
        if (shown.desired === group?.desired) rightAt.set(name, kernel.now);
        const since = Math.max(rightAt.get(name) ?? 0, changedAt.get(name) ?? 0);
        if (rightAt.has(name) && kernel.now - since > stalest.milliseconds)
          stalest = { id, milliseconds: kernel.now - since };
      }
      facts.longestLag = Math.max(facts.longestLag, Math.round(stalest.milliseconds / MINUTE));
      return stalest;
    },
  };
}
