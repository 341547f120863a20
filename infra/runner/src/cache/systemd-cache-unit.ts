import { chown, mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execute } from '../child-process.ts';
import { startTransientUnit } from '../transient-unit.ts';
import { CACHE_NODE_OPTIONS, CACHE_PROCESS_ENVIRONMENT } from './cache-program.ts';
import { CACHE_BAZELRC, cacheBazelRc } from './client-settings.ts';
import type { CacheUnitFactory } from './job-cache.ts';
import type { CacheProcessSettings } from './serve-cache.ts';

const UNIT = 'aw-cache.service';
const USER = 'aw-cache';

/** Readable by every user: there is no secret in it. Empty after a boot, like the unit itself. */
const SETTINGS = '/run/aw-runner/cache.json';

/** Only the user of the cache and root reach the socket. */
const CONTROL = '/run/aw-cache/control';

/**
 * Properties of the unit (systemd.exec(5), systemd.service(5), systemd.resource-control(5)). It is in `system.slice`, whose
 * processes reach the metadata service, and so the credentials of the instance's role.
 */
const PROPERTIES = [
  'Type=exec',
  `User=${USER}`,
  'Restart=always',
  'RestartSec=1',
  // However often a job ends it.
  'StartLimitIntervalSec=0',
  'TimeoutStopSec=2',
  'MemoryMax=512M',
  'OOMPolicy=kill',
  'OOMScoreAdjust=200',
  'Nice=5',
  'TasksMax=256',
  'LimitNOFILE=65536',
  'UMask=0077',
  'NoNewPrivileges=yes',
  'ProtectSystem=strict',
  'ProtectHome=yes',
  'PrivateTmp=yes',
  'PrivateDevices=yes',
  'RuntimeDirectory=aw-cache',
  'RuntimeDirectoryMode=0700',
  // One file of logs is shipped.
  'StandardOutput=append:/var/log/aw-runner.log',
  'StandardError=append:/var/log/aw-runner.log',
];

/** The process of the cache as a transient unit of systemd, which outlives aw-runner. */
export const systemdCacheUnit: CacheUnitFactory = ({ log }) => ({
  control: CONTROL,

  async ensure(settings) {
    if (await isActive()) return;
    await prepare(settings, log);
    const [program = '', script = ''] = [process.execPath, process.argv[1]];
    const options = [
      '--description=Build cache of the instance',
      ...[...PROPERTIES, `ReadWritePaths=${settings.directory}`].map((property) => `--property=${property}`),
      ...Object.entries(CACHE_PROCESS_ENVIRONMENT).map(([name, value]) => `--setenv=${name}=${value}`),
    ];
    await startTransientUnit(UNIT, options, [
      program,
      ...CACHE_NODE_OPTIONS,
      script,
      'serve-cache',
      SETTINGS,
    ]);
  },

  async restart() {
    await execute('systemctl', ['restart', UNIT], { signal: AbortSignal.timeout(15_000) });
  },

  async stop() {
    await execute('systemctl', ['stop', UNIT], { signal: AbortSignal.timeout(15_000) }).catch(
      async (error) => {
        if (await isLoaded()) throw error;
      },
    );
  },
});

async function isActive(): Promise<boolean> {
  return execute('systemctl', ['--quiet', 'is-active', UNIT]).then(
    () => true,
    () => false,
  );
}

async function isLoaded(): Promise<boolean> {
  return (
    (await execute('systemctl', ['show', '--property=LoadState', UNIT])).trim() !== 'LoadState=not-found'
  );
}

/** The user, the directory that only it can read, and the files that name the cache. */
async function prepare(settings: CacheProcessSettings, log: (line: string) => void): Promise<void> {
  const exists = await execute('getent', ['passwd', USER]).catch(() => undefined);
  if (exists === undefined) {
    log(`this image has no user ${USER}: creating it`);
    await execute('useradd', [
      '--system',
      '--user-group',
      '--no-create-home',
      '--shell',
      '/usr/sbin/nologin',
      USER,
    ]);
  }
  const [uid, gid] = (await Promise.all(['-u', '-g'].map((flag) => execute('id', [flag, USER])))).map(Number);
  // The user of the cache must reach it, so the mode is for the last directory alone.
  await mkdir(dirname(settings.directory), { recursive: true });
  await mkdir(settings.directory, { recursive: true, mode: 0o700 });
  await chown(settings.directory, uid ?? 0, gid ?? 0);
  await mkdir(dirname(SETTINGS), { recursive: true, mode: 0o711 });
  await writeFile(SETTINGS, JSON.stringify(settings), { mode: 0o644 });
  await writeFile(CACHE_BAZELRC, cacheBazelRc(settings.port), { mode: 0o644 });
}
