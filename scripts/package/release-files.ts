import { readdir, readFile } from 'node:fs/promises';
import { join, posix, sep } from 'node:path';

/** Text or bytes by path, with slashes, relative to the archive's one folder. */
export type Files = Record<string, Uint8Array>;

/** What terraform leaves behind where it ran, and what only developers of the module need. */
const LEFT_OUT =
  /(^|\/)(\.[^/]*|.*\.tfstate(\..*)?|.*\.tfplan|.*\.tfvars)(\/|$)|^infra\/(tests|runner\/src)\//;

/**
 * The repository's own part of a release: the module, what each function listens to, and the docs.
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
