import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import type { QueuedJob } from '../../scripts/local/ci-providers.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { autoScalingGroupName, type Group } from '../../shared/fleet/names.ts';
import { parseRegistrationName } from '../../shared/fleet/registration.ts';

/** Longest wait for what follows by itself, in seconds. It only ends what hangs: a busy computer takes minutes for what else takes seconds. */
export const PATIENCE_SECONDS = 300;

/** What tests do with the runners of a local cloud, and what they wait for. */
export function localFleet(cloud: Cloud) {
  const nameOf = (group: Group) => autoScalingGroupName(cloud.deployment.prefix, group);

  function instances(group: Group) {
    return cloud.autoScaling.groups().find(({ name }) => name === nameOf(group))?.instances ?? [];
  }

  /** The last lines of each instance of a group, for the error of a wait. */
  function state(group: Group) {
    return instances(group).map(({ id, state: lifecycle }) => [id, lifecycle, ...linesOf(id).slice(-4)]);
  }

  function linesOf(instanceId: string): string[] {
    return cloud.runners.lines.all.filter((line) => line.instanceId === instanceId).map(({ text }) => text);
  }

  async function setDesired(group: Group, DesiredCapacity: number): Promise<void> {
    await cloud.clients.autoScaling.send(
      new SetDesiredCapacityCommand({ AutoScalingGroupName: nameOf(group), DesiredCapacity }),
    );
  }

  /** @returns ids of the instances in service, as soon as there are so many */
  async function inService(group: Group, count: number, seconds = PATIENCE_SECONDS): Promise<string[]> {
    return waitFor(
      `${count} instances of ${nameOf(group)} in service`,
      () => {
        const ids = instances(group).filter((one) => one.state === 'InService');
        return ids.length === count && ids.map(({ id }) => id);
      },
      { seconds, state: () => state(group) },
    );
  }

  async function scaleTo(group: Group, count: number): Promise<string[]> {
    await setDesired(group, count);
    return inService(group, count);
  }

  async function untilGone(group: Group, seconds = PATIENCE_SECONDS): Promise<void> {
    await waitFor(`no instance of ${nameOf(group)}`, () => instances(group).length === 0, {
      seconds,
      state: () => state(group),
    });
  }

  /** The instance that runs or ran a job, by the name of its agent. */
  function instanceOf(job: QueuedJob): string | undefined {
    return parseRegistrationName(job.now.agent ?? '')?.instanceId;
  }

  async function untilRunning(job: QueuedJob, seconds = PATIENCE_SECONDS): Promise<void> {
    await waitFor(`the job ${job.now.name} runs`, () => job.now.state === 'running', {
      seconds,
      state: () => job.now,
    });
  }

  /** @returns what the provider knows about the job. The caller looks at its result. */
  async function untilEnded(job: QueuedJob, seconds = PATIENCE_SECONDS) {
    await waitFor(`the job ${job.now.name} ends`, () => job.now.state === 'finished', {
      seconds,
      state: () => job.now,
    });
    const { result, starts, agent } = job.now;
    return { result, starts, agent };
  }

  /** Registrations that GitHub knows of an instance. */
  function registrationsOf(instanceId: string) {
    return cloud.providers.github.registrations().filter(({ name }) => name.startsWith(`${instanceId}-`));
  }

  async function untilListening(instanceId: string, seconds = PATIENCE_SECONDS): Promise<void> {
    await waitFor(
      `the agent of ${instanceId} listens`,
      () => registrationsOf(instanceId).some(({ online, ghost }) => online && !ghost),
      { seconds, state: () => [registrationsOf(instanceId), linesOf(instanceId).slice(-5)] },
    );
  }

  /** The aw-runner of an instance has begun its drain. */
  async function untilDraining(instanceId: string): Promise<void> {
    await waitFor(
      `the drain of ${instanceId}`,
      () => linesOf(instanceId).some((line) => line.includes('draining: the instance is')),
      { seconds: PATIENCE_SECONDS, state: () => linesOf(instanceId).slice(-5) },
    );
  }

  /** How many registrations the function has issued to an instance. */
  function issuedTo(instanceId: string): number {
    return cloud.gateway.calls.all.filter(
      ({ caller, operation, status, parameters }) =>
        caller === instanceId &&
        operation === 'InvokeFunctionUrl' &&
        parameters.action === 'register' &&
        status === 200,
    ).length;
  }

  return {
    instances,
    linesOf,
    setDesired,
    inService,
    scaleTo,
    untilGone,
    instanceOf,
    untilRunning,
    untilEnded,
    registrationsOf,
    untilListening,
    untilDraining,
    issuedTo,
    state,
  };
}
