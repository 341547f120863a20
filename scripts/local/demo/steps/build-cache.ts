import { readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import type { Group } from '../../../../shared/fleet/names.ts';
import type { QueuedJob } from '../../ci-providers.ts';
import { GROUPS } from '../fleet.ts';
import { linesOf } from '../queries.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { instanceOf, scaleOutTo, untilFinished } from './runners.ts';

/** Longest wait for an instance, and for a job. */
const LONGEST_SECONDS = 600;

/** The result of one build, as `cached-build.ts` prints it. */
type Build = { hits: number; actions: number; output: string };

function buildOf({ now }: QueuedJob): Build {
  const [, hits, actions, output = ''] = /build: (\d+) of (\d+) hits, output (\w+)/.exec(now.log) ?? [];
  expectThat(output !== '', `a job has built nothing: ${now.log.slice(-300)}`);
  return { hits: Number(hits), actions: Number(actions), output };
}

/** The entity tags of all claims of the build cache in S3, by key. */
async function claimsOf({ cloud }: Demo): Promise<Map<string, string>> {
  const claims = new Map<string, string>();
  for (let token: string | undefined, isFirst = true; isFirst || token !== undefined; isFirst = false) {
    const page = await cloud.clients.s3.send(
      new ListObjectsV2Command({
        Bucket: cloud.deployment.bucket,
        Prefix: 'cache/main/act/',
        ContinuationToken: token,
      }),
    );
    for (const { Key = '', ETag = '' } of page.Contents ?? []) claims.set(Key, ETag);
    token = page.NextContinuationToken;
  }
  return claims;
}

/**
 * A build on an instance of a group that writes, and the same build on the instance of a group that only reads, before and after a job there
 * has claimed other outputs for all actions.
 */
export const buildCache: Step = {
  title: 'build cache: second build, and poison',
  async run(demo) {
    const script = join(demo.root, 'scripts/local/demo/cached-build.ts');
    const folder = join(demo.root, 'shared/fleet');
    const run = async (mode: 'build' | 'poison', group: Group) => {
      const command = `node '${script}' ${mode} '${folder}' && echo "mounts:$(readlink /proc/self/ns/mnt)"`;
      const job = demo.cloud.providers.queueJob(group, command);
      await untilFinished(demo, [job], LONGEST_SECONDS);
      return job;
    };

    const booted = scaleOutTo(demo, GROUPS.pulls, 1, LONGEST_SECONDS);
    const [writer, [reader]] = await Promise.all([run('build', GROUPS.buildkite), booted]);
    const first = buildOf(writer);
    const stored = await demo.waitFor(
      'all actions in S3',
      async () => {
        const claims = await claimsOf(demo);
        return claims.size === first.actions && claims;
      },
      { seconds: 300, state: () => linesOf(demo, instanceOf(writer)).slice(-5) },
    );
    demo.log(`${first.actions} actions ran on ${instanceOf(writer)}, and are in S3`);

    const expectHits = ({ hits, output }: Build, what: string) =>
      expectThat(
        hits === first.actions && output === first.output,
        `${what}: ${hits} of ${first.actions} hits, output ${output}, expected ${first.output}`,
      );
    expectHits(buildOf(await run('build', GROUPS.pulls)), 'the second build');
    const poison = await run('poison', GROUPS.pulls);
    const claims = await claimsOf(demo);
    const isUnchanged =
      claims.size === stored.size && [...stored].every(([key, tag]) => claims.get(key) === tag);
    expectThat(isUnchanged, 'a job of a group that only reads has changed S3');
    demo.log(`a job on ${reader} has claimed other outputs, and S3 is unchanged`);
    const hits = `${first.actions} of ${first.actions} hits on another instance`;
    // Jobs that share the root of their instance share their claims too.
    const own = `mounts:${await readlink('/proc/self/ns/mnt').catch(() => '')}`;
    if (poison.now.log.includes(own)) return `${hits}; poison did not reach S3`;
    expectHits(buildOf(await run('build', GROUPS.pulls)), 'the build after a job that poisons');
    return `${hits}, the same after a job there that poisons`;
  },
};
