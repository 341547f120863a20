import { readdir, readFile } from 'node:fs/promises';
import { join, posix, sep } from 'node:path';

/** Bytes by path. Paths have slashes and are relative to the only folder of the archive. */
export type Files = Record<string, Uint8Array>;

/** Files that terraform writes, and files that only developers of the module need. */
const LEFT_OUT =
  /(^|\/)(\.[^/]*|.*\.tfstate(\..*)?|.*\.tfplan|.*\.tfvars)(\/|$)|^infra\/(tests|runner\/src)\//;

/**
 * The files of the repository in a release: the module, function.json of each function, and the docs.
 *
 * @param root the repository
 */
export async function releaseFiles(root: string): Promise<Files> {
  const paths = [
    'LICENSE',
    'CHANGELOG.md',
    ...(await below(root, 'infra')),
    ...(await below(root, 'docs')),
    ...(await below(root, 'functions')).filter((path) => path.endsWith('/function.json')),
  ];
  const kept = paths.filter((path) => !LEFT_OUT.test(path));
  const read = kept.map(async (path) => [path, await readFile(join(root, path))] as const);
  return Object.fromEntries(await Promise.all(read));
}

async function below(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => posix.join(folder, relativeTo(join(root, folder), join(entry.parentPath, entry.name))));
}

function relativeTo(folder: string, file: string): string {
  return file.slice(folder.length + 1).replaceAll(sep, '/');
}
