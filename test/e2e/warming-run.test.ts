import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseConfig } from '../../infra/runner/src/config.ts';
import { warmingUnits } from '../../infra/runner/src/isolation/instance-units.ts';
import type { KernelPort } from '../../infra/runner/src/isolation/job-places.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { stateFile } from '../../infra/runner/src/state.ts';
import { warmingDriver } from '../../infra/runner/src/warming/warming-run.ts';
import { cleanRun } from '../../scripts/local/cleanup/clean.ts';
import { localUnits } from '../../scripts/local/runners/agent-units.ts';
import { localKernel } from '../../scripts/local/runners/kernel.ts';
import { manifestKey } from '../../shared/snapshot/layout.ts';
import { type Manifest, manifestSchema } from '../../shared/snapshot/manifest.ts';
import { whyMissing } from '../support/packages.ts';
import { BUCKET, SET, startWorld, type World } from '../support/snapshots.ts';

const reason = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
  setpriv: 'util-linux',
  setsid: 'util-linux',
});
if (reason) console.warn(`the tests of warming runs are skipped: ${reason}`);

/** Not below `/tmp`, which a run replaces. */
const FOLDER = `/var/tmp/hearth-warming-${process.pid}`;
const INSTANCE = 'i-0123456789abcdef0';
const SECRET = 'ROOT-ONLY-DEPLOY-KEY-4711';

let world: World;
let lines: string[];
let closed: number;

const kernel: KernelPort = {
  ...localKernel,
  async closeMetadata() {
    closed += 1;
  },
  async openMetadata() {
    closed -= 100;
  },
};

describe.skipIf(reason !== undefined)('a warming run', () => {
  beforeEach(async () => {
    mkdirSync(FOLDER, { recursive: true });
    vi.stubEnv('TMPDIR', FOLDER);
    world = await startWorld();
    chmodSync(world.folder, 0o755);
    lines = [];
    closed = 0;
  });
  afterEach(async () => {
    await cleanRun(runFolder());
    await world.close();
    rmSync(FOLDER, { recursive: true, force: true });
  });

  const runFolder = () => join(world.folder, '.local/run', `warming-${process.pid}`);

  /** A fresh instance of the warming group, restored. The local units make cgroups for folders of this form. */
  async function boot(name: string, rebuild?: number): Promise<Directories> {
    const directories = { ...world.instance(name), state: join(runFolder(), name) };
    mkdirSync(directories.state, { recursive: true });
    const warn = (line: string) => lines.push(line);
    await restoreSnapshot({
      s3: world.s3,
      bucket: BUCKET,
      set: SET,
      directories,
      warn,
      ...(rebuild !== undefined && { rebuild }),
    });
    chmodSync(directories.warm, 0o1777);
    return directories;
  }

  /** @returns the new snapshot, if the run has saved one */
  async function run(
    directories: Directories,
    script: string,
    {
      isolation = 'clean',
      user = 'nobody',
      jobs = {},
    }: { isolation?: string; user?: string; jobs?: object } = {},
  ): Promise<Manifest | undefined> {
    const { images, warm, state } = directories;
    const config = parseConfig(
      JSON.stringify({
        version: 1,
        region: 'us-east-1',
        bucket: BUCKET,
        reportsUrl: world.server.url,
        group: 'gha/warm',
        autoScalingGroup: 'aw-gha-warm',
        warmingSet: SET,
        warming: { command: ['sh', '-c', script], user },
        directories: { images, warm, state },
        jobs: { isolation, docker: false, ...jobs },
        agent: { driver: 'gha', workDirectory: join(world.folder, 'work') },
      }),
      'test',
    );
    const { warming } = config;
    if (!warming) throw new Error('no warming');
    const log = (line: string) => void lines.push(line);
    // The local units run everything as the user of this test: only the place of a run changes the user.
    const units = localUnits({ stateDirectory: state, log });
    const before = world.snapshots();
    // Ids have whole seconds, and runs of a set are longer.
    if (before.length > 0) await sleep(1_000);
    const driver = warmingDriver({
      config,
      warming,
      set: SET,
      s3: world.s3,
      toolVersion: '0',
      instanceId: INSTANCE,
      states: stateFile(state),
      units: () => warmingUnits(config, units, kernel, log),
      log,
    });
    await driver.start();
    while ((await driver.status()).state === 'busy') await sleep(20);
    const [id] = world.snapshots().filter((each) => !before.includes(each));
    if (id === undefined) return undefined;
    world.makeCurrent(id);
    return JSON.parse(world.server.objects.get(manifestKey(SET, id))?.body.toString() ?? '');
  }

  /** Whether a process has this text among its arguments. */
  const runs = (text: string) =>
    readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid))
      .some((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(text);
        } catch {
          return false;
        }
      });

  test('is of its user, sees neither images nor state, reaches no metadata, and leaves nothing on the instance', async () => {
    const instance = await boot('first');
    const manifest = await run(
      instance,
      `exec >"$AW_WARM_DIR/seen" 2>&1; id -un; ls ${instance.images} ${instance.state}; cat /proc/1/comm
       : 'authorization: bearer not-a-secret' ${'x'.repeat(5_000)}
       touch /var/tmp/left-by-a-run /etc/left-by-a-run; touch /dev/shm/left-by-a-run; ps -e -o comm=`,
    );
    expect(lines.join('\n')).not.toContain('failed');
    const seen = readFileSync(join(instance.warm, 'seen'), 'utf8');
    expect(seen.split('\n')[0]).toBe('nobody');
    expect(seen).not.toMatch(/base|trees|runner\.json|restored\.json/);
    expect(seen).toContain('/etc/left-by-a-run');
    for (const place of ['/var/tmp', '/etc', '/dev/shm'])
      expect(existsSync(`${place}/left-by-a-run`)).toBe(false);
    expect(closed).toBe(1);
    // Its words are cut, and nothing of a credential's form is in them.
    expect(v.is(manifestSchema, manifest)).toBe(true);
    expect(JSON.stringify(manifest)).not.toContain('not-a-secret');
    expect(manifest).toMatchObject({
      user: 'nobody',
      command: ['sh', '-c', expect.any(String)],
      paths: ['warm'],
    });
    expect(manifest).not.toHaveProperty('startedFrom');
    // Beside the saved directory the tree has nothing any more.
    const [tree = ''] = readdirSync(join(instance.images, 'trees')).filter((name) => /^\d+$/.test(name));
    expect(readdirSync(join(instance.images, 'trees', tree)).sort()).toEqual(['lost+found', 'paths', 'warm']);
  });

  test.each(['clean', 'shared'])(
    'that leaves a process which exchanges files for links to files of root saves none of these: %s',
    async (isolation) => {
      const instance = await boot('first');
      writeFileSync(join(world.folder, 'key'), SECRET, { mode: 0o600 });
      const mark = `flip-${process.pid}-${isolation}`;
      const flip = `cd "$AW_WARM_DIR"; while :; do
        for n in 1 2 3 4 5 6 7 8; do ln -sf ${world.folder}/key new-$n; mv -f new-$n f-$n; echo plain >new-$n; mv -f new-$n f-$n; done; done`;
      // Whether the process was alive at the first request that the save sends.
      let alive: boolean | undefined;
      world.server.fault = ({ method }) => {
        if (method === 'POST' || method === 'PUT') alive ??= runs(mark);
        return undefined;
      };
      const manifest = await run(
        instance,
        `echo begun >"$AW_WARM_DIR/begun"; setsid sh -c '${flip}' ${mark} >/dev/null 2>&1 </dev/null & sleep 0.3`,
        { isolation },
      );
      expect(lines.join('\n')).not.toContain('failed');
      expect(manifest).toBeDefined();
      expect(alive).toBe(false);
      expect(runs(mark)).toBe(false);
      const second = await boot('second');
      expect(readFileSync(join(second.warm, 'begun'), 'utf8')).toBe('begun\n');
      const base = execFileSync('find', [join(second.images, 'base'), '-name', '*.img'], {
        encoding: 'utf8',
      }).trim();
      expect(execFileSync('sh', ['-c', `grep -c ${SECRET} ${base} || :`], { encoding: 'utf8' })).toBe('0\n');
    },
  );

  test('that cannot close the metadata service does not begin', async () => {
    const instance = await boot('first');
    const close = kernel.closeMetadata;
    kernel.closeMetadata = async () => {
      throw new Error('nft did not run');
    };
    try {
      expect(await run(instance, 'touch "$AW_WARM_DIR/file"')).toBeUndefined();
    } finally {
      kernel.closeMetadata = close;
    }
    expect(lines.at(-1)).toContain('warming run failed: Error: nft did not run');
    expect(existsSync(join(instance.warm, 'file'))).toBe(false);
  });

  test('whose set allows the role of the instance opens the metadata service', async () => {
    await run(await boot('first'), 'touch "$AW_WARM_DIR/file"', { jobs: { useInstanceRole: true } });
    expect(closed).toBe(-100);
  });

  test('goes on with the snapshot before it, until it is time for an empty tree', async () => {
    const night = async (name: string, rebuild: number) =>
      run(await boot(name, rebuild), `echo ${name} >>"$AW_WARM_DIR/nights"`, { isolation: 'shared' });
    const first = await night('first', 3);
    expect(first?.startedFrom).toBeUndefined();
    expect((await night('second', 3))?.startedFrom).toBe(first?.id);
    // As the function counts them.
    const current = world.pointer.current;
    if (current) world.pointer.current = { ...current, generation: 2 };
    world.server.put(`sets/${SET}/pointer.json`, JSON.stringify(world.pointer));
    const instance = await boot('third', 3);
    expect(lines.at(-1)).toContain('starts with an empty tree');
    expect(readdirSync(instance.warm)).toEqual([]);
    const rebuilt = await run(instance, 'echo anew >"$AW_WARM_DIR/nights"', { isolation: 'shared' });
    expect(rebuilt).not.toHaveProperty('startedFrom');
    expect(rebuilt).not.toHaveProperty('parent');
    expect(rebuilt?.frames).toHaveLength(1);
    expect(readFileSync(join((await boot('fourth', 3)).warm, 'nights'), 'utf8')).toBe('anew\n');
  });
});
