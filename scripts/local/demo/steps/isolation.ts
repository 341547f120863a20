import { readlink } from 'node:fs/promises';
import type { QueuedJob } from '../../ci-providers.ts';
import { GROUPS, WARM_BUILD } from '../fleet.ts';
import { inService, turnoversOf } from '../queries.ts';
import { percentile } from '../statistics.ts';
import { expectThat, type Step } from '../step.ts';
import { groupNameOf, instanceOf, untilFinished } from './runners.ts';

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

/** Two jobs per runner of the first act. */
const ROUNDS = 2;

/**
 * Builds with the warm caches, one after the other on each runner. Each first checks that nothing of the one before is there. Without
 * root, or without XFS, the jobs of a runner share its root here.
 */
export const cleanBuilds: Step = {
  title: 'GitHub: warm builds, each on clean state',
  async run(demo) {
    const runners = inService(demo, groupNameOf(demo, GROUPS.warm)).length;
    const isolation = leaveAndLook(await readlink('/proc/self/ns/mnt').catch(() => ''));
    const command = `(${WARM_BUILD}) || exit 1\n${isolation}`;
    const jobs: QueuedJob[] = [];
    // Never more of them wait than there are runners, so no poll raises the group.
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let count = 0; count < runners; count += 1)
        jobs.push(demo.cloud.providers.queueJob(GROUPS.warm, command));
      await untilFinished(demo, jobs);
    }
    const wrong = jobs.find(({ now }) => !/built \d{5,} bytes/.test(now.log));
    expectThat(wrong === undefined, `a job has built nothing: ${wrong?.now.log.slice(-200)}`);
    const agents = new Set(jobs.map(({ now }) => now.agent));
    expectThat(agents.size === jobs.length, 'an agent of GitHub ran two jobs');
    const slowest = Math.max(...jobs.map(({ now }) => ((now.finishedAt ?? 0) - (now.startedAt ?? 0)) / 1000));
    const builds = `${jobs.length} builds, slowest ${slowest.toFixed(1)} s`;
    if (jobs.some(({ now }) => /^shared$/m.test(now.log)))
      return `${builds}; clean state needs root and XFS, and was not shown`;
    const turnovers = [...new Set(jobs.map(instanceOf))].flatMap((id) => turnoversOf(demo, id));
    expectThat(turnovers.length >= runners, `only ${turnovers.length} jobs followed another one`);
    return `${builds}; next job's clean state ${percentile(turnovers, 50).toFixed(1)} s after a job (median of ${turnovers.length})`;
  },
};
