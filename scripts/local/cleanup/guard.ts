import { spawn } from 'node:child_process';
import { join } from 'node:path';

/** Starts the process that cleans `folder` once this one is gone; `cleanRun` of the folder ends it too. */
export function guard(root: string, folder: string): void {
  const child = spawn(process.execPath, [join(root, 'scripts/local/cleanup/main.ts'), `${folder}/`], {
    cwd: root,
    // Standard input alone ties it to this process. Detached, so that Ctrl-C in the terminal does not reach it.
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  });
  child.unref();
  if (child.stdin && 'unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref();
}
