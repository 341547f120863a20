import { PROVIDER_AGENTS } from './agents/providers.ts';
import { systemdUnits } from './agents/systemd-units.ts';
import { systemdCacheUnit } from './cache/systemd-cache-unit.ts';
import { instanceKernel } from './isolation/job-places.ts';
import { runProgram } from './program.ts';

// `exit`, since a restore or an agent can keep Node running after a stop.
process.exit(
  await runProgram(process.argv.slice(2), {
    agents: PROVIDER_AGENTS,
    units: systemdUnits,
    cacheUnit: systemdCacheUnit,
    kernel: instanceKernel,
  }),
);
