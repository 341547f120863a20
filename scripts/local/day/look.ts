import { DescribeAutoScalingGroupsCommand, type Instance } from '@aws-sdk/client-auto-scaling';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { Manifest } from '../../../shared/snapshot/manifest.ts';
import type { Pointer } from '../../../shared/snapshot/pointer.ts';
import { readManifest, readPointer } from '../../../shared/snapshot/records.ts';
import { s3Store } from '../../../shared/snapshot/store.ts';
import type { Day } from './day.ts';
import { SET } from './fleet.ts';

/** Instances of a group, as Auto Scaling tells any operator. */
export async function instancesOf({ cloud }: Day, group: string): Promise<Instance[]> {
  const { AutoScalingGroups } = await cloud.clients.autoScaling.send(
    new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [group] }),
  );
  return AutoScalingGroups?.[0]?.Instances ?? [];
}

export async function inService(day: Day, group: string): Promise<string[]> {
  const instances = await instancesOf(day, group);
  return instances.filter((one) => one.LifecycleState === 'InService').map((one) => one.InstanceId ?? '');
}

/** The pointer of the day's warming set. */
export async function pointerOf({ cloud }: Day): Promise<Pointer | undefined> {
  return (await readPointer(s3Store(cloud.clients.s3, cloud.deployment.bucket), SET))?.pointer;
}

export async function manifestOf({ cloud }: Day, id: string): Promise<Manifest> {
  const manifest = await readManifest(s3Store(cloud.clients.s3, cloud.deployment.bucket), SET, id);
  if (!manifest) throw new Error(`snapshot ${id} has no manifest`);
  return manifest;
}

/** The bytes of an object in the day's bucket. */
export async function objectOf({ cloud }: Day, key: string): Promise<Buffer> {
  const { Body } = await cloud.clients.s3.send(
    new GetObjectCommand({ Bucket: cloud.deployment.bucket, Key: key }),
  );
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
}

/** Lines that one machine's aw-runner has printed. */
export function linesOf({ cloud }: Day, instanceId: string): string[] {
  return cloud.runners.lines.all.filter((line) => line.instanceId === instanceId).map((line) => line.text);
}

/** `restored in 1.2 s`: how long a machine's restore took, and how it ended. */
export function restoreOf(day: Day, instanceId: string): { outcome: string; seconds: number } | undefined {
  for (const line of linesOf(day, instanceId)) {
    const [, outcome, seconds] = /(restored|previous|cold|none) in ([\d.]+) s/.exec(line) ?? [];
    if (outcome !== undefined) return { outcome, seconds: Number(seconds) };
  }
  return undefined;
}
