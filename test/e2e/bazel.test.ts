import { hash } from 'node:crypto';
import { appendFileSync, existsSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import * as v from 'valibot';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sharedUnits } from '../../infra/runner/src/agents/placed-units.ts';
import { parseConfig } from '../../infra/runner/src/config.ts';
import { isMounted } from '../../infra/runner/src/snapshot/mounts.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { removeEverything } from '../../infra/runner/src/snapshot/remove-everything.ts';
import { restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { stateFile } from '../../infra/runner/src/state.ts';
import { bazelRc } from '../../infra/runner/src/warming/bazel-caches.ts';
import { bazelServers, endBazelServers } from '../../infra/runner/src/warming/bazel-servers.ts';
import { warmingDriver } from '../../infra/runner/src/warming/warming-run.ts';
import { localUnits } from '../../scripts/local/runners/agent-units.ts';
import { parseSetKey, pointerKey } from '../../shared/snapshot/layout.ts';
import { type Manifest, manifestSchema } from '../../shared/snapshot/manifest.ts';
import { emptyPointer, promote } from '../../shared/snapshot/pointer.ts';
import { type Archive, actionsRun, bazel, cacheHits, checkOut, makeArchive } from '../support/bazel.ts';
import { whyMissing } from '../support/packages.ts';
import { localS3 } from '../support/s3-client.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';
import { mountXfs } from '../support/xfs.ts';

const reason = await whyMissing({
  bazel: 'bazel-bootstrap',
  javac: 'default-jdk-headless',
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
});
if (reason) console.warn(`the tests with Bazel are skipped: ${reason}`);

/** Actions of the sample workspace. */
const ACTIONS = 8;
const SET = 'default';

describe.skipIf(reason !== undefined)('with Bazel', () => {
  let server: S3Server;
  let s3: S3Client;
  let folder: string;
  let endDisk: () => void;
  let instances: Directories[];
  let archive: Archive;
  const places = () => ({
    checkout: join(folder, 'checkout'),
    rc: join(folder, 'bazelrc'),
    warm: join(folder, 'warm'),
  });

  beforeEach(async () => {
    server = await startS3Server();
    s3 = localS3(server.url);
    folder = realpathSync(await mkdtemp(join(tmpdir(), 'hearth-bazel-')));
    endDisk = mountXfs(join(folder, 'disk'));
    instances = [];
    archive = makeArchive(join(folder, 'postcodes.tar.gz'));
  });

  afterEach(async () => {
    try {
      await endMachine();
      expect(await bazelServers(folder)).toEqual([]);
      for (const { warm } of instances) expect(await isMounted(warm)).toBe(false);
    } finally {
      endDisk();
      await rm(folder, { recursive: true, force: true });
      await server.close();
    }
  });

  /** Nothing of an instance is left when the next one begins: no process, no mount, no file, no checkout. */
  async function endMachine(): Promise<void> {
    try {
      await endBazelServers(folder, 300_000);
    } finally {
      // All have the same warm directory; the latest one is bound to it.
      for (const directories of [...instances].reverse()) await removeEverything(directories);
      rmSync(places().checkout, { recursive: true, force: true });
    }
  }

  /** A fresh instance that has booted: its own disk, and the warm directory and the checkout where every instance has them. */
  async function bootMachine() {
    await endMachine();
    const disk = join(folder, 'disk', `instance-${instances.length}`);
    const directories = { images: join(disk, 'images'), state: join(disk, 'state'), warm: places().warm };
    instances.push(directories);
    const restored = await restoreSnapshot({ s3, bucket: 'b', set: SET, directories });
    checkOut(places().checkout, archive);
    // What the first instance has fetched is not to be had any more: whoever fetches it again fails.
    if (instances.length > 1) rmSync(archive.path, { force: true });
    writeFileSync(places().rc, bazelRc(places().warm));
    return { directories, restored, bazel: bazel(places().checkout, places().rc, disk) };
  }

  const byDefault = (build: boolean) => ({ bazel: { directory: places().checkout, build } });

  /** A warming run as a warming group's instance does it, up to the pointer that `warming` moves afterwards. */
  async function warmingRun(directories: Directories, warming: object): Promise<Manifest> {
    const before = new Set(server.objects.keys());
    expect(await runOf(directories, warming)).toMatchObject({ state: { warmingRun: 'saved' } });
    return promoteNew(before);
  }

  /** The run alone, and what it left written. */
  async function runOf(directories: Directories, settings: object) {
    const config = parseConfig(
      JSON.stringify({
        version: 1,
        region: 'us-east-1',
        bucket: 'b',
        reportsUrl: server.url,
        group: 'gha/warm',
        autoScalingGroup: 'aw-gha-warm',
        warmingSet: SET,
        warming: settings,
        directories,
        agent: { driver: 'gha', user: userInfo().username },
      }),
      'test',
    );
    const states = stateFile(directories.state);
    const lines: string[] = [];
    const { warming } = config;
    if (!warming) throw new Error('the configuration has no warming');
    const log = (line: string) => void lines.push(line);
    const instanceId = 'i-0123456789abcdef0';
    const driver = warmingDriver({
      config,
      warming,
      set: SET,
      s3,
      toolVersion: '0',
      instanceId,
      states,
      // As the user of this test: its checkouts belong to it.
      units: async () => sharedUnits(localUnits({ stateDirectory: directories.state, log })),
      log,
    });
    await driver.start();
    while ((await driver.status()).state === 'busy') await sleep(100);
    expect(await bazelServers(folder)).toEqual([]);
    return { state: await states.read(instanceId), log: lines.join('\n') };
  }

  function promoteNew(before: ReadonlySet<string>): Manifest {
    const [key = ''] = [...server.objects.keys()].filter(
      (name) => !before.has(name) && parseSetKey(name)?.kind === 'manifest',
    );
    const text = server.objects.get(key)?.body.toString() ?? '';
    const manifest = v.parse(manifestSchema, JSON.parse(text));
    const at = new Date(manifest.createdAt);
    const manifestSha256 = hash('sha256', text, 'hex');
    server.put(
      pointerKey(SET),
      JSON.stringify(promote(emptyPointer(at), { id: manifest.id, manifestSha256 }, at)),
    );
    return manifest;
  }

  test('the default warming run fetches all that a build needs, and builds nothing', async () => {
    const first = await bootMachine();
    expect(first.restored.outcome).toBe('cold');
    const manifest = await warmingRun(first.directories, byDefault(false));
    expect(manifest.parent).toBeUndefined();

    const second = await bootMachine();
    expect(second.restored).toMatchObject({ outcome: 'restored', id: manifest.id });
    expect(existsSync(archive.path)).toBe(false);
    expect(actionsRun(second.bazel.build())).toBe(ACTIONS);
  });

  test('after a warming run that builds, the first build elsewhere has nothing to do', async () => {
    const first = await bootMachine();
    const full = await warmingRun(first.directories, byDefault(true));
    const firstBytes = full.totals.storedBytes;

    const second = await bootMachine();
    expect(second.restored).toMatchObject({ outcome: 'restored', id: full.id });
    expect(actionsRun(second.bazel.build())).toBe(0);
    appendFileSync(join(places().checkout, 'label.txt'), 'this side up\n');
    expect(actionsRun(second.bazel.build())).toBe(1);
    second.bazel.run('clean');
    const again = second.bazel.build();
    expect(actionsRun(again)).toBe(0);
    expect(cacheHits(again)).toBe(ACTIONS);

    // The next night, after a day on which one file was changed.
    const third = await bootMachine();
    appendFileSync(join(places().checkout, 'label.txt'), 'fragile\n');
    const night = await warmingRun(third.directories, byDefault(true));
    expect(night.parent).toBe(full.id);
    const added = night.frames.find((object) => object.id === night.id)?.bytes ?? 0;
    const share = added / firstBytes;
    console.log(`first save ${firstBytes} bytes, second ${added} (${(share * 100).toFixed(2)} %)`);
    expect(share).toBeLessThan(0.02);

    const fourth = await bootMachine();
    expect(fourth.restored).toMatchObject({ outcome: 'restored', id: night.id });
    appendFileSync(join(places().checkout, 'label.txt'), 'fragile\n');
    expect(actionsRun(fourth.bazel.build())).toBe(0);
  });

  test("a set's own command may leave its server running, and what it has built is whole", async () => {
    const first = await bootMachine();
    const script = 'cd "$1" && exec bazel --bazelrc="$2" build //...';
    const command = ['sh', '-c', script, 'warm', places().checkout, places().rc];
    const manifest = await warmingRun(first.directories, { command });

    const second = await bootMachine();
    expect(second.restored).toMatchObject({ outcome: 'restored', id: manifest.id });
    expect(actionsRun(second.bazel.build())).toBe(0);
  });

  test('a run that fails leaves no server and no snapshot', async () => {
    const { directories } = await bootMachine();
    appendFileSync(
      join(places().checkout, 'BUILD'),
      '\ngenrule(name = "broken", outs = ["x"], cmd = "exit 3")\n',
    );
    const { state, log } = await runOf(directories, byDefault(true));
    expect(state).toMatchObject({ warmingRun: 'failed' });
    expect(log).toContain('warming run failed: Error: bazel ended with 1');
    expect([...server.objects.keys()]).toEqual([]);
  });
});
