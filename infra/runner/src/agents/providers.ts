import { dirname } from 'node:path';
import type { AgentKind } from './agent-kind.ts';
import { agentLogs } from './agent-log.ts';
import { BK_EXECUTABLE, bkAgent } from './bk.ts';
import { CCI_EXECUTABLE, cciAgent } from './cci.ts';
import { AgentChain } from './chain.ts';
import type { AgentContext, AgentFactories, AgentFactory } from './driver.ts';
import { GHA_EXECUTABLE, ghaAgent } from './gha.ts';
import { noAgent } from './none.ts';
import { type AgentProgram, agentProgram } from './program-files.ts';
import { type AgentSettings, parseAgentSettings } from './settings.ts';

type KindOptions = {
  settings: AgentSettings;
  /** A directory that jobs see, with files that each has its own permissions; empty after a boot of the instance. */
  runtimeDirectory: string;
  program: AgentProgram;
  units: AgentContext['units'];
  logs: ReturnType<typeof agentLogs>;
  env: Readonly<Record<string, string>>;
  /** Each agent runs one job: the jobs of a group that does not isolate them share an agent where the provider has such a mode. */
  oneJob: boolean;
  now(): number;
  log(line: string): void;
};

/** The agents of the CI providers. */
export const PROVIDER_AGENTS: AgentFactories = {
  gha: provider(GHA_EXECUTABLE, ghaAgent),
  bk: provider(BK_EXECUTABLE, bkAgent),
  cci: provider(CCI_EXECUTABLE, cciAgent),
};

function provider(executable: string, kind: (options: KindOptions) => AgentKind): AgentFactory {
  return (values, context) => {
    const settings = parseAgentSettings(values);
    const { registration, units, stateDirectory, now, log } = context;
    if (!registration) return noAgent('the configuration has no registrationUrl', log);
    const program = agentProgram(settings, executable, log);
    const logs = agentLogs(stateDirectory);
    const env = { LANG: 'C.UTF-8', HEARTH_JOB_SOCKET: context.jobSocket, ...context.env };
    const runtimeDirectory = dirname(context.jobSocket);
    const options = {
      settings,
      runtimeDirectory,
      program,
      units,
      logs,
      env,
      oneJob: context.oneJob,
      now,
      log,
    };
    return new AgentChain(kind(options), context, { registration, program, user: settings.user });
  };
}
