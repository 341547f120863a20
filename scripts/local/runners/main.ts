import { PROVIDER_AGENTS } from '../../../infra/runner/src/agents/providers.ts';
import { systemdUnits } from '../../../infra/runner/src/agents/systemd-units.ts';
import { runProgram } from '../../../infra/runner/src/program.ts';
import { simulatedAgent } from './simulated-driver.ts';

// aw-runner of the local cloud: the shipped program with the agent of the simulated CI provider added, which needs no unit.
process.exit(
  await runProgram(process.argv.slice(2), {
    agents: { ...PROVIDER_AGENTS, simulated: simulatedAgent },
    units: systemdUnits,
  }),
);
