import { parseArgs } from 'node:util';
import { assemble, log } from './assemble.ts';
import { boot } from './boot.ts';
import { BadConfig, CONFIG_FILE, readConfig } from './config.ts';
import { jobFinished } from './health.ts';
import { SNAPSHOT_USAGE, snapshotCommand } from './snapshot/cli.ts';
import { version } from './version.ts';
import { WARM_USAGE, warmCommand } from './warming/cli.ts';
import { watch } from './watch.ts';

const USAGE = `aw-runner ${version}: what runs on a runner's machine

usage: aw-runner [--config FILE] COMMAND

  boot                      from power-on to taking jobs; says Runner Ready or Runner Failed
  watch                     drains, and reports idle and broken machines, until it is stopped
  run                       boot, then watch
  job-finished --exit-code N  for the host's job hook: tells of a machine that breaks its jobs
  version

${SNAPSHOT_USAGE}

${WARM_USAGE}

FILE is ${CONFIG_FILE} if not named. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.`;

async function main(argv: readonly string[]): Promise<number> {
  const { positionals, values, tokens } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    strict: false,
    tokens: true,
    options: { config: { type: 'string' }, help: { type: 'boolean' }, 'exit-code': { type: 'string' } },
  });
  const [name] = positionals;
  if (values.help || name === undefined) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  if (name === 'version') {
    console.log(version);
    return 0;
  }
  const config = await readConfig(typeof values.config === 'string' ? values.config : CONFIG_FILE);
  const at = tokens.find((token) => token.kind === 'positional')?.index ?? 0;
  const rest = argv
    .slice(at + 1)
    .filter((arg, index, all) => arg !== '--config' && all[index - 1] !== '--config');
  if (name === 'snapshot') return snapshotCommand(rest, config, version);
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  if (name === 'warm-bazel') return warmCommand(rest, config, stop.signal, log);
  if (name === 'job-finished') {
    const reason = await jobFinished(config.directories.state, Number(values['exit-code']));
    if (reason !== undefined) log(`the machine is unhealthy: ${reason}`);
    return 0;
  }
  if (name !== 'boot' && name !== 'watch' && name !== 'run') {
    console.error(`no such command: ${name}\n\n${USAGE}`);
    return 2;
  }
  const runner = await assemble(config);
  log(`aw-runner ${version} ${name} on ${runner.instanceId}, group ${config.group}`);
  if (name !== 'watch') {
    const outcome = await boot(runner);
    if (name === 'boot') return outcome === 'failed' ? 1 : 0;
  }
  // Also after a boot that failed: somebody has to answer the terminate hook of a machine that is given up.
  await watch(runner, stop.signal);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof BadConfig)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
