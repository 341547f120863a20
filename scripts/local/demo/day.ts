import type { PlannedStep } from './run-steps.ts';
import { buildCache } from './steps/build-cache.ts';
import {
  allJobs,
  backToMinimum,
  firstWave,
  outage,
  reclaimOfBurst,
  scaleInOfBurst,
  warmShare,
} from './steps/burst.ts';
import { callsOfTheDay, jobsOfTheDay, registrationsOfTheDay } from './steps/end-of-day.ts';
import { cleanBuilds } from './steps/isolation.ts';
import { alarmToIncident, poisonedMessage } from './steps/paging.ts';
import { handEdit } from './steps/parameters.ts';
import { buildkite, circleci } from './steps/providers.ts';
import { corruptSnapshot } from './steps/rollback.ts';
import { idleRelease, protectedFromScaleIn, scaleOut, spotReclaim } from './steps/runners.ts';
import { firstWarmingRun, secondWarmingRun } from './steps/warming.ts';

/**
 * The second act: what follows from forty jobs. The steps run side by side, and wait for each other's effects.
 *
 * @param after what the first jobs wait for
 */
export function secondAct(after: PlannedStep['after']): PlannedStep[] {
  return [
    { step: firstWave, after },
    { step: reclaimOfBurst, after },
    { step: outage, after },
    { step: allJobs, after },
    { step: scaleInOfBurst, after },
    { step: backToMinimum, after: [allJobs, reclaimOfBurst, outage, scaleInOfBurst] },
  ];
}

/**
 * The steps of `npm start`. Steps that do not need each other run at the same time. An idle runner of GitHub terminates after more than
 * 70 s, so the second act, which ends with six of them, comes as early as there is a snapshot.
 */
export const DAY: readonly PlannedStep[] = [
  { step: firstWarmingRun, after: [] },
  { step: scaleOut, after: [firstWave] },
  { step: cleanBuilds, after: [scaleOut] },
  { step: protectedFromScaleIn, after: [cleanBuilds] },
  { step: spotReclaim, after: [protectedFromScaleIn] },
  { step: idleRelease, after: [] },
  { step: buildkite, after: [] },
  { step: circleci, after: [] },
  { step: secondWarmingRun, after: [cleanBuilds] },
  { step: buildCache, after: [buildkite] },
  { step: corruptSnapshot, after: [secondWarmingRun, spotReclaim, allJobs] },
  // Needs a group that nothing else scales.
  { step: alarmToIncident, after: [circleci] },
  { step: handEdit, after: [] },
  { step: poisonedMessage, after: [alarmToIncident] },
  ...secondAct([firstWarmingRun]),
  { step: warmShare, after: [allJobs] },
  { step: jobsOfTheDay, after: [corruptSnapshot, buildCache, alarmToIncident, allJobs] },
  { step: registrationsOfTheDay, after: [jobsOfTheDay, idleRelease, backToMinimum] },
  ...callsOfTheDay.map((step) => ({ step, after: [registrationsOfTheDay] })),
];
