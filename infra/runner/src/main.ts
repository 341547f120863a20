import { systemdUnits } from './agents/systemd-units.ts';
import { runProgram } from './program.ts';

// `exit`, since a restore or an agent can keep Node running after a stop.
process.exit(await runProgram(process.argv.slice(2), { agents: {}, units: systemdUnits }));
