import { readlink } from 'node:fs/promises';
import { GROUPS } from '../fleet.ts';
import { inService } from '../queries.ts';
import { expectThat, type Step } from '../step.ts';
import { instanceOf, untilFinished } from './runners.ts';

/**
 * A job that fails if an earlier one has left anything, and leaves a file in each of these places and a process in a session of its
 * own. In the mount namespace `$own` of this computer it does nothing.
 */
const leaveAndLook = (
  own: string,
) => `if [ "$(readlink /proc/self/ns/mnt)" = '${own}' ]; then echo shared; exit 0; fi
for place in /tmp /var/tmp /dev/shm "$HOME" "$AW_WARM_DIR"; do
  file="$place/left-by-an-earlier-job"
  if [ -e "$file" ]; then echo "found $file"; exit 1; fi
  touch "$file"
done
if ps -e -o args= | grep -q '[s]leep 86399'; then echo 'found a process'; exit 1; fi
env -i setsid sleep 86399 >/dev/null 2>&1 </dev/null &
sleep 0.2`;

/** Jobs one after the other on each runner. Without root, or without XFS, the jobs of a runner share its root here. */
export const cleanJobs: Step = {
  title: 'clean jobs: each finds nothing of the one before',
  async run(demo) {
    const runners = (await inService(demo, `${demo.cloud.deployment.prefix}-gha-default`)).length;
    const command = leaveAndLook(await readlink('/proc/self/ns/mnt').catch(() => ''));
    const jobs = Array.from({ length: 3 * runners }, () =>
      demo.cloud.providers.queueJob(GROUPS.warm, command),
    );
    await untilFinished(demo, jobs);
    if (jobs.some(({ now }) => /^shared$/m.test(now.log))) return 'not shown: needs root and XFS';
    const perRunner = Object.values(Object.groupBy(jobs, instanceOf)).map((each = []) =>
      each.map(({ now }) => now).sort((a, b) => (a.startedAt ?? 0) - (b.startedAt ?? 0)),
    );
    const turnovers = perRunner.flatMap((each) =>
      each.slice(1).map(({ startedAt = 0 }, index) => startedAt - (each[index]?.finishedAt ?? 0)),
    );
    expectThat(turnovers.length >= 2 * runners, `only ${turnovers.length} jobs followed another one`);
    const median = turnovers.sort((a, b) => a - b)[turnovers.length >> 1] ?? Number.NaN;
    return `${turnovers.length} clean turnovers, median ${(median / 1000).toFixed(1)} s from job to job`;
  },
};
