import { WEEK } from '../../scripts/simulate/options.ts';
import { simulate } from '../../scripts/simulate/simulate.ts';

/**
 * `npm run bench:simulate`: a week of 1,000 groups with 10,000 runners at most, in which everything fails, on virtual time. It has to take
 * less than ten minutes on two cores, and 4 GB. The last line is JSON.
 */
const LIMIT_SECONDS = 600;
const LIMIT_MEBIBYTES = 4_096;

const began = performance.now();
const { summary, violations } = await simulate(WEEK);
const seconds = Math.round((performance.now() - began) / 1000);
const mebibytes = Math.round(process.resourceUsage().maxRSS / 1024);

for (const { invariant, at, detail } of violations)
  console.log(`${new Date(at).toISOString()} ${invariant}: ${detail}`);
console.log(
  `a week of ${WEEK.groups} groups: ${summary.events} events in ${seconds} s (limit ${LIMIT_SECONDS} s), ` +
    `${mebibytes} MiB (limit ${LIMIT_MEBIBYTES} MiB)`,
);
console.log(JSON.stringify({ ...summary, seconds, mebibytes }));
process.exitCode = violations.length === 0 && seconds < LIMIT_SECONDS && mebibytes < LIMIT_MEBIBYTES ? 0 : 1;
