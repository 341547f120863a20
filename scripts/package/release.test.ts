import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { unzipSync } from 'fflate';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packRelease } from './release.ts';
import { releaseFiles } from './release-files.ts';

const repository = resolve(import.meta.dirname, '../..');
let root: string;

const put = async (path: string, text: string) => {
  await mkdir(join(root, path, '..'), { recursive: true });
  await writeFile(join(root, path), text);
};
const pack = () => packRelease({ root, dist: join(root, 'dist') });

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'hearth-release-'));
  await put('LICENSE', 'free');
  await put('CHANGELOG.md', 'new');
  await put('package.json', '{"version":"1.2.3"}');
  await put('infra/version.json', '{"version":"1.2.3"}');
  await put('infra/main.tf', '# module');
  await put('infra/modules/x/main.tf', '# x');
  await put('docs/runbooks/backlog.md', '# Jobs wait');
  await mkdir(join(root, 'functions/alarms'), { recursive: true });
  await cp(join(repository, 'functions/alarms/function.json'), join(root, 'functions/alarms/function.json'));
  await put('functions/alarms/handler.ts', 'code');
  await put('dist/aw-runner.mjs', 'runner');
  await put('dist/functions/alarms.zip', 'alarms');
});
afterEach(() => rm(root, { recursive: true, force: true }));

test('the archive has exactly the files that the module needs, at the paths that it reads', async () => {
  await put('infra/tests/a.tftest.hcl', 'test');
  await put('infra/.terraform/providers/x', 'binary');
  await put('infra/examples/github/.terraform.lock.hcl', 'lock');
  await put('infra/examples/github/terraform.tfstate', 'secret');
  await put('infra/examples/github/terraform.tfstate.1700000000.backup', 'secret');
  await put('infra/mine.auto.tfvars', 'secret');
  await put('dist/functions/alarms.meta.json', '{}');
  const { version, zip } = await pack();
  expect(version).toBe('1.2.3');
  expect(Object.keys(unzipSync(zip))).toEqual([
    'hearth/CHANGELOG.md',
    'hearth/LICENSE',
    'hearth/dist/aw-runner.mjs',
    'hearth/dist/bundles.json',
    'hearth/dist/functions/alarms.zip',
    'hearth/docs/runbooks/backlog.md',
    'hearth/functions/alarms/function.json',
    'hearth/infra/main.tf',
    'hearth/infra/modules/x/main.tf',
    'hearth/infra/version.json',
  ]);
});

test('the archive of the repository has what ends up on an instance, without the source of the runner program', async () => {
  const paths = Object.keys(await releaseFiles(repository)).filter((path) =>
    path.startsWith('infra/runner/'),
  );
  for (const file of ['bootstrap.sh', 'aw-runner.service', 'aw-runner.logrotate', 'user-data.yaml.tftpl'])
    expect(paths).toContain(`infra/runner/${file}`);
  expect(paths.filter((path) => path.startsWith('infra/runner/image/')).length).toBeGreaterThan(0);
  expect(paths.filter((path) => path.startsWith('infra/runner/src/'))).toEqual([]);
});

test('bundles.json has the checksums as Lambda and sha256sum write them', async () => {
  const files = unzipSync((await pack()).zip);
  const sha256 = (text: string) => createHash('sha256').update(text);
  expect(JSON.parse(Buffer.from(files['hearth/dist/bundles.json'] ?? []).toString())).toEqual({
    runner: { sha256: sha256('runner').digest('hex') },
    functions: { alarms: { code_sha256: sha256('alarms').digest('base64') } },
  });
});

test('the same files make the same bytes, whenever they were written', async () => {
  const one = await pack();
  await utimes(join(root, 'infra/main.tf'), 1, 1);
  await put('LICENSE', 'free');
  expect(Buffer.from((await pack()).zip).equals(one.zip)).toBe(true);
  await put('infra/main.tf', '# changed');
  expect(Buffer.from((await pack()).zip).equals(one.zip)).toBe(false);
});

test('a release that could not be deployed is not made', async () => {
  await rm(join(root, 'dist/functions/alarms.zip'));
  await expect(pack()).rejects.toThrow(/alarms has no zip/);
  await put('dist/functions/alarms.zip', 'alarms');
  await put('infra/version.json', '{"version":"1.2.4"}');
  await expect(pack()).rejects.toThrow(/1\.2\.3.*1\.2\.4/);
  await put('infra/version.json', '{"version":"1.2.3"}');
  await rm(join(root, 'dist/aw-runner.mjs'));
  await expect(pack()).rejects.toThrow(/aw-runner\.mjs/);
});
