import { readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import type { QueuedJob } from '../../ci-providers.ts';
import { GROUPS } from '../fleet.ts';
import { inService, linesOf } from '../queries.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { groupNameOf, instanceOf, untilFinished } from './runners.ts';

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
 * A build on an instance of a group that writes, and the same build on instances of a group that only reads, before and after a job on each
 * of them has claimed other outputs for all actions.
 */
export const buildCache: Step = {
  title: 'build cache: second build, and poison',
  async run(demo) {
    const script = join(demo.root, 'scripts/local/demo/cached-build.ts');
    const folder = join(demo.root, 'shared/fleet');
    const queue = async (
      mode: 'build' | 'poison',
      group: typeof GROUPS.buildkite | typeof GROUPS.warm,
      jobs: number,
    ) => {
      const queued = Array.from({ length: jobs }, () =>
        demo.cloud.providers.queueJob(
          group,
          `node '${script}' ${mode} '${folder}' && echo "mounts:$(readlink /proc/self/ns/mnt)"`,
        ),
      );
      await untilFinished(demo, queued);
      return queued;
    };

    const [writer] = await queue('build', GROUPS.buildkite, 1);
    const first = buildOf(writer as QueuedJob);
    const stored = await demo.waitFor(
      'all actions in S3',
      async () => {
        const claims = await claimsOf(demo);
        return claims.size === first.actions && claims;
      },
      { seconds: 30, state: () => linesOf(demo, instanceOf(writer as QueuedJob)).slice(-5) },
    );
    demo.log(`${first.actions} actions ran on an instance of ${GROUPS.buildkite.provider}, and are in S3`);

    const runners = inService(demo, groupNameOf(demo, GROUPS.warm)).length;
    const isRight = ({ hits, output }: Build) => hits === first.actions && output === first.output;
    const second = (await queue('build', GROUPS.warm, runners)).map(buildOf);
    expectThat(second.every(isRight), `a second build has run actions: ${JSON.stringify(second)}`);
    const poison = await queue('poison', GROUPS.warm, runners);
    const claims = await claimsOf(demo);
    const isUnchanged =
      claims.size === stored.size && [...stored].every(([key, tag]) => claims.get(key) === tag);
    expectThat(isUnchanged, 'a job of a group that only reads has changed S3');
    const builds = `${second.length} builds on other instances: ${first.actions} of ${first.actions} hits`;
    // Jobs that share the root of their instance share their claims too.
    const own = `mounts:${await readlink('/proc/self/ns/mnt').catch(() => '')}`;
    if (poison.some(({ now }) => now.log.includes(own))) return `${builds}; poison did not reach S3`;
    const third = (await queue('build', GROUPS.warm, runners)).map(buildOf);
    expectThat(third.every(isRight), `a job that poisons has changed a build: ${JSON.stringify(third)}`);
    return `${builds}, also after ${poison.length} jobs that poison`;
  },
};
