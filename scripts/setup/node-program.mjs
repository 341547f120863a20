// The Node that runs the scripts and builds the bundles: `node_modules/.bin/node`.
import { existsSync, mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { MissingTool } from './system.mjs';

/** Oldest Node that runs the scripts: the version of the Lambda runtime, and of the packages in package-lock.json. */
const OLDEST_NODE = 24;

/** Platforms for which package-lock.json has Node as a package, with its checksum. It links `.bin/node` itself. */
const PACKAGED = ['linux-arm64', 'linux-x64'];

/**
 * Whether `.bin/node` is what it has to be on this platform: the program of the package, or a link to a Node of the system.
 *
 * @param {string} root
 * @param {string} [platform]
 */
export function nodeIsInPlace(root, platform = `${process.platform}-${process.arch}`) {
  const link = nodeProgram(root);
  if (!existsSync(link)) return false;
  if (!PACKAGED.includes(platform)) return true;
  return realpathSync(link).startsWith(realpathSync(join(root, 'node_modules')) + sep);
}

/**
 * Puts the Node of the system into `.bin`, where no package brings one.
 *
 * @param {string} root
 * @param {{platform?: string, program?: string, version?: string}} [system] the running Node, if absent
 * @throws {MissingTool} if that is too old, or if npm left out the package of this platform
 */
export function placeNode(root, system = {}) {
  const platform = system.platform ?? `${process.platform}-${process.arch}`;
  const version = system.version ?? process.versions.node;
  if (nodeIsInPlace(root, platform)) return;
  if (PACKAGED.includes(platform))
    throw new MissingTool(
      `npm did not install node-${platform}, which package-lock.json names: check the registry of npm`,
    );
  if (Number.parseInt(version, 10) < OLDEST_NODE)
    throw new MissingTool(
      `package-lock.json has no Node for ${platform}: please install Node ${OLDEST_NODE} or newer (this is ${version})`,
    );
  const link = nodeProgram(root);
  mkdirSync(dirname(link), { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(system.program ?? process.execPath, link);
}

/** @param {string} root */
export function nodeProgram(root) {
  return join(root, 'node_modules/.bin/node');
}
