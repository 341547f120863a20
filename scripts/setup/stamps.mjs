// Stamps: a digest of the sources of a result, stored beside it. A step is done if its stamp is current.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** @param {string} file */
export function readStamp(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/**
 * @param {string} file
 * @param {string} stamp
 */
export function writeStamp(file, stamp) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, stamp);
}

/** A stamp of the files' bytes. @param {string[]} files */
export function stampOfFiles(files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest('hex');
}

/**
 * A stamp of every file below the paths by name, size and time of change: quicker than reading them all.
 *
 * @param {string} root
 * @param {string[]} paths files or folders below `root`; those that do not exist count as empty
 */
export function stampOfTree(root, paths) {
  const hash = createHash('sha256');
  for (const path of paths) {
    for (const file of filesBelow(join(root, path))) {
      const { size, mtimeMs } = statSync(file);
      hash.update(`${file}\0${size}\0${mtimeMs}\n`);
    }
  }
  return hash.digest('hex');
}

/**
 * Whether node_modules holds what package-lock.json names. npm writes what it installed into a hidden lock file of
 * its own; a package that is optional may be absent, unless it is for this platform.
 *
 * @param {string} root
 * @param {{os: string, cpu: string}} [platform]
 */
export function npmIsCurrent(root, platform = { os: process.platform, cpu: process.arch }) {
  const hidden = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(hidden)) return false;
  const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(hidden, 'utf8')).packages;
  return Object.entries(locked).every(([path, wanted]) => {
    if (path === '') return true;
    const found = installed[path];
    if (found) return found.version === wanted.version;
    return Boolean(wanted.optional) && !isFor(wanted, platform);
  });
}

/**
 * Whether a package names this platform. One that names a C library does not count: which of them npm installs depends
 * on more than the platform.
 *
 * @param {{os?: string | string[], cpu?: string | string[], libc?: unknown}} wanted
 * @param {{os: string, cpu: string}} platform
 */
function isFor({ os, cpu, libc }, platform) {
  return (
    Boolean(os && cpu && !libc) && [os].flat().includes(platform.os) && [cpu].flat().includes(platform.cpu)
  );
}

/** @param {string} path @returns {string[]} sorted */
function filesBelow(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
