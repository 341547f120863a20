import { jobCache } from '../../../infra/runner/src/cache/job-cache.ts';
import { systemdCacheUnit } from '../../../infra/runner/src/cache/systemd-cache-unit.ts';
import { parseConfig } from '../../../infra/runner/src/config.ts';
import { runnerConfig } from '../../support/runner-config.ts';

/**
 * Calls the build cache of an instance as aw-runner does, in an instance with clean jobs: `cache-unit.ts <program> ensure|turnover|drain
 * <port>`.
 *
 * The program is that of the unit, as on an instance.
 */
const [program = '', call = '', port = ''] = process.argv.slice(2);
process.argv[1] = program;
const config = parseConfig(runnerConfig('/var/lib/aw-runner-test'), 'test');
const settings = { mode: 'write', scope: 'main', reads: [], diskPercent: 10, port: Number(port) } as const;
const log = (line: string) => console.error(line);
const cache = jobCache(
  { ...config, cache: { ...settings, reads: [] } },
  true,
  systemdCacheUnit({ stateDirectory: '/var/lib/aw-runner-test/state', log }),
  log,
);
switch (call) {
  case 'ensure':
    await cache.ensure();
    break;
  case 'turnover':
    await cache.turnover();
    break;
  case 'drain':
    await cache.drain(null);
    break;
  default:
    throw new Error(`no such call: ${call}`);
}
