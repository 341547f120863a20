// Prepares a computer for `npm start` and `npm test`. A second run has nothing to do.
//
// It runs before anything is installed, so it is plain JavaScript for Node 20 with no dependencies.
//
// Usage: node scripts/setup/setup.mjs [--without <step> ...]
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { nodeIsInPlace, nodeProgram, placeNode } from './node-program.mjs';
import { npmIsCurrent, readStamp, stampOfFiles, stampOfTree, writeStamp } from './stamps.mjs';
import { commandExists, installPackages, MissingTool, pythonProgram, run } from './system.mjs';

const root = resolve(import.meta.dirname, '../..');

/** The private Python environments. checkov pins another version of botocore than the emulator, so it has one of its own. */
const environments = {
  emulator: {
    folder: join(root, '.local/venv'),
    requirements: join(root, 'scripts/setup/requirements.txt'),
  },
  scanners: {
    folder: join(root, '.local/scanners'),
    requirements: join(root, 'scripts/setup/scanners.txt'),
  },
};

/** Sources of the bundles, besides the lock file. */
const BUNDLED = ['functions', 'shared', 'infra/runner/src', 'scripts/build', 'scripts/local/runners'];

/** The steps, each with the check whether it is done. The tests of an optional one skip with a message without it. */
const steps = [
  {
    name: 'dependencies',
    isDone: () => npmIsCurrent(root) && nodeIsInPlace(root),
    work: () => {
      // Everything comes out of the lock file, with its checksum. No script of a package runs.
      const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
      if (!npmIsCurrent(root)) run('npm', ['ci', '--ignore-scripts', ...quiet], { cwd: root });
      placeNode(root);
    },
  },
  {
    name: 'emulator',
    isDone: () => isInstalled(environments.emulator),
    work: () => install(environments.emulator),
  },
  {
    // Scanners of Terraform plans and IAM policies, for tests only.
    name: 'scanners',
    isOptional: true,
    isDone: () => isInstalled(environments.scanners),
    work: () => install(environments.scanners),
  },
  {
    name: 'e2fsprogs',
    isDone: () => commandExists('mke2fs') && commandExists('debugfs') && commandExists('e2fsck'),
    work: () => installPackages({ apt: 'e2fsprogs', dnf: 'e2fsprogs', brew: 'e2fsprogs' }),
  },
  {
    // Only root can mount the disk on which every job's tree is a clone; without it files are copied.
    name: 'xfsprogs',
    isDone: () => process.getuid?.() !== 0 || (commandExists('mkfs.xfs') && commandExists('xfs_io')),
    work: () => installPackages({ apt: 'xfsprogs', dnf: 'xfsprogs', brew: 'xfsprogs' }),
  },
  {
    name: 'bundles',
    isDone: () => existsSync(join(root, 'dist')) && readStamp(bundleStampFile()) === bundleStamp(),
    work: () => {
      run(nodeProgram(root), ['scripts/build/main.ts'], { cwd: root });
      writeStamp(bundleStampFile(), bundleStamp());
    },
  },
];

/** @param {{folder: string, requirements: string}} environment */
function isInstalled({ folder, requirements }) {
  return readStamp(join(folder, '.stamp')) === stampOfFiles([requirements]);
}

/** @param {{folder: string, requirements: string}} environment */
function install({ folder, requirements }) {
  const python = pythonProgram();
  rmSync(folder, { recursive: true, force: true });
  const made = spawnSync(python, ['-m', 'venv', folder], { encoding: 'utf8' });
  if (made.status !== 0) {
    // Debian and Ubuntu ship Python without the part that makes environments.
    installPackages({ apt: 'python3-venv' });
    rmSync(folder, { recursive: true, force: true });
    run(python, ['-m', 'venv', folder]);
  }
  // Python compiles what a program imports. That is a small part of the scanners.
  const pip = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--require-hashes',
    '--no-compile',
  ];
  run(join(folder, 'bin/python'), [...pip, '-r', requirements]);
  writeStamp(join(folder, '.stamp'), stampOfFiles([requirements]));
}

function bundleStampFile() {
  return join(root, 'dist/.stamp');
}

function bundleStamp() {
  return stampOfTree(root, [...BUNDLED, 'package-lock.json']);
}

/** Messages go to standard error, because a program may read the standard output of the command. */
function main(args) {
  const without = args[0] === '--without' ? args.slice(1) : [];
  const started = performance.now();
  for (const step of steps) {
    if (without.includes(step.name) || step.isDone()) continue;
    const at = performance.now();
    console.error(`setup: ${step.name} …`);
    try {
      step.work();
    } catch (error) {
      const isNeeded = !step.isOptional || process.env.HEARTH_REQUIRE_ALL === '1';
      if (isNeeded || !(error instanceof MissingTool)) throw error;
      console.error(
        `setup: ${step.name} cannot be installed here, so their tests are skipped: ${error.message}`,
      );
      continue;
    }
    console.error(`setup: ${step.name} ready in ${((performance.now() - at) / 1000).toFixed(1)} s`);
  }
  console.error(`setup: everything in place (${((performance.now() - started) / 1000).toFixed(1)} s)`);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof MissingTool)) throw error;
  console.error(`setup: ${error.message}`);
  process.exitCode = 1;
}
