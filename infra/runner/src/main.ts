import { runProgram } from './program.ts';

// Agent drivers of CI providers go here. `exit`, since a restore or an agent can keep Node running after a stop.
process.exit(await runProgram(process.argv.slice(2), { agents: {} }));
