import { PROVIDER_AGENTS } from '../../../infra/runner/src/agents/providers.ts';
import { runProgram } from '../../../infra/runner/src/program.ts';
import { localUnits } from './agent-units.ts';
import { localCacheUnit } from './cache-unit.ts';
import { localKernel } from './kernel.ts';

// aw-runner of the local cloud: the shipped program and agents, without systemd.
process.exit(
  await runProgram(process.argv.slice(2), {
    agents: PROVIDER_AGENTS,
    units: localUnits,
    cacheUnit: localCacheUnit,
    kernel: localKernel,
  }),
);
