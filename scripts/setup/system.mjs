// Programs that the set-up needs, and the package managers that install them.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Oldest Python that the emulator runs on. */
const OLDEST_PYTHON = [3, 10];

/** Folders of system programs; Homebrew links none of e2fsprogs. */
const SYSTEM_FOLDERS = [
  '/usr/sbin',
  '/sbin',
  '/opt/homebrew/opt/e2fsprogs/sbin',
  '/usr/local/opt/e2fsprogs/sbin',
];

/** A program is missing that the user has to install. The message has its name and the command. */
export class MissingTool extends Error {}

/** @param {string} name */
export function commandExists(name) {
  // The PATH of a user often lacks the folders of system programs.
  return [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_FOLDERS].some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Runs a program without its output. If it fails, prints the output and throws.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{cwd?: string, env?: Record<string, string>}} [options]
 */
export function run(program, args, options = {}) {
  const env = { ...process.env, ...options.env };
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
    ...options,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error) throw new MissingTool(`cannot run ${program}: ${error.message}`);
  if (status === 0) return;
  process.stderr.write(stdout + stderr);
  throw new MissingTool(`${program} ${args.join(' ')} ended with ${signal ?? status}`);
}

/** The first Python on the PATH that is new enough. */
export function pythonProgram() {
  const tooOld = [];
  for (const name of ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3.10']) {
    const { status, stdout } = spawnSync(name, ['-c', 'import sys; print(*sys.version_info[:2])'], {
      encoding: 'utf8',
    });
    if (status !== 0) continue;
    const [major = 0, minor = 0] = stdout.trim().split(' ').map(Number);
    if (major === OLDEST_PYTHON[0] && minor >= OLDEST_PYTHON[1]) return name;
    tooOld.push(`${name} is ${major}.${minor}`);
  }
  const found = tooOld.length > 0 ? ` (${tooOld.join(', ')})` : '';
  throw new MissingTool(`the emulator needs Python ${OLDEST_PYTHON.join('.')} or newer on the PATH${found}`);
}

/**
 * Installs a system package if the user is root and the package manager is apt-get or dnf.
 *
 * @param {{apt?: string, dnf?: string, brew?: string}} names the package's name with each package manager
 * @throws {MissingTool} with the command that the user has to run, in every other case
 */
export function installPackages(names) {
  const isRoot = process.getuid?.() === 0;
  if (names.apt && commandExists('apt-get')) {
    if (!isRoot) throw new MissingTool(`please run: sudo apt-get install ${names.apt}`);
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    run('apt-get', ['update', '-qq'], { env });
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', names.apt], { env });
    return;
  }
  if (names.dnf && commandExists('dnf')) {
    if (!isRoot) throw new MissingTool(`please run: sudo dnf install ${names.dnf}`);
    run('dnf', ['install', '-y', '-q', names.dnf]);
    return;
  }
  if (names.brew && commandExists('brew')) throw new MissingTool(`please run: brew install ${names.brew}`);
  throw new MissingTool(`please install ${names.apt ?? names.dnf ?? names.brew} with your package manager`);
}
