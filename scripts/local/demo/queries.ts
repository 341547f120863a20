import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { Manifest } from '../../../shared/snapshot/manifest.ts';
import type { Pointer } from '../../../shared/snapshot/pointer.ts';
import { readManifest, readPointer } from '../../../shared/snapshot/records.ts';
import { s3Store } from '../../../shared/snapshot/store.ts';
import { SET } from './fleet.ts';
import type { Demo } from './step.ts';

/** Instances of a group. Without a call: steps ask ten times per second, and calls would cost more than what is observed. */
export function instancesOf({ cloud }: Demo, group: string): readonly { id: string; state: string }[] {
  return cloud.autoScaling.groups().find(({ name }) => name === group)?.instances ?? [];
}

/** Ids of the instances of a group that are in service. */
export function inService(demo: Demo, group: string): string[] {
  return instancesOf(demo, group)
    .filter(({ state }) => state === 'InService')
    .map(({ id }) => id);
}

/** The pointer of the warming set. */
export async function pointerOf({ cloud }: Demo): Promise<Pointer | undefined> {
  return (await readPointer(s3Store(cloud.clients.s3, cloud.deployment.bucket), SET))?.pointer;
}

export async function manifestOf({ cloud }: Demo, id: string): Promise<Manifest> {
  const read = await readManifest(s3Store(cloud.clients.s3, cloud.deployment.bucket), SET, id);
  if (!read) throw new Error(`snapshot ${id} has no manifest`);
  return read.manifest;
}

/** The bytes of an object in the bucket. */
export async function objectOf({ cloud }: Demo, key: string): Promise<Buffer> {
  const { Body } = await cloud.clients.s3.send(
    new GetObjectCommand({ Bucket: cloud.deployment.bucket, Key: key }),
  );
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
}

/** Lines that the aw-runner of one instance printed. */
export function linesOf({ cloud }: Demo, instanceId: string): string[] {
  return cloud.runners.lines.all.filter((line) => line.instanceId === instanceId).map((line) => line.text);
}

/** The result and the duration of the restore of an instance, from the line `restored in 1.2 s`. */
export function restoreOf(demo: Demo, instanceId: string): { outcome: string; seconds: number } | undefined {
  for (const line of linesOf(demo, instanceId)) {
    const [, outcome, seconds] = /(restored|previous|cold|none) in ([\d.]+) s/.exec(line) ?? [];
    if (outcome !== undefined) return { outcome, seconds: Number(seconds) };
  }
  return undefined;
}

/** Seconds from the end of a job to the place of the next one, for each job of an instance but the last. */
export function turnoversOf(demo: Demo, instanceId: string): number[] {
  return linesOf(demo, instanceId).flatMap((line) => {
    const seconds = /the place of the next job is ready ([\d.]+) s after/.exec(line)?.[1];
    return seconds === undefined ? [] : [Number(seconds)];
  });
}
