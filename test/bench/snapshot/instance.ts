import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Directories } from '../../../infra/runner/src/snapshot/paths.ts';
import { BUCKET, type Bucket, SET } from './bucket.ts';
import { type Timed, timed } from './timed.ts';

/** A runner's disk, and the real program on it. */
export type Instance = {
  directories: Directories;
  warm: string;
  /** @param flags of the command, such as `--path` */
  snapshot(what: 'save' | 'restore', flags?: readonly string[]): Promise<Timed>;
};

/**
 * @param root the repository, with its built program
 * @param disk a directory of the instance's own
 */
export async function instanceOn(root: string, disk: string, bucket: Bucket): Promise<Instance> {
  const directories = { images: join(disk, 'images'), warm: join(disk, 'warm'), state: join(disk, 'state') };
  await mkdir(disk, { recursive: true });
  const file = join(disk, 'config.json');
  const config = {
    version: 1,
    region: 'us-east-1',
    bucket: BUCKET,
    reportsUrl: bucket.url,
    group: 'gha/default',
    autoScalingGroup: 'aw-gha-default',
    warmingSet: SET,
    directories,
    agent: { driver: 'gha' },
  };
  await writeFile(file, JSON.stringify(config));
  const program = join(root, 'dist/aw-runner.mjs');
  return {
    directories,
    warm: directories.warm,
    snapshot: (what, flags = []) =>
      timed(process.execPath, [program, '--config', file, 'snapshot', what, '--json', ...flags], bucket.env),
  };
}
