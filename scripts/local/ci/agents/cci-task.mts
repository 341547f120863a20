import { mkdirSync, rmSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { nameProcess, run, signal } from './process.mts';

/** Behaves as the task-agent that the runner starts for each task, behind its `command_prefix`: the exit code is the command's. */

type Task = { command: string; env: Record<string, string>; directory: string; cleanUp: boolean };

/** Time between TERM and KILL for what the command started. */
const KILL_AFTER_MS = 5_000;

nameProcess('circleci-agent');
const task = JSON.parse(await text(process.stdin)) as Task;
mkdirSync(task.directory, { recursive: true });
const { child, exit } = run(
  ['bash', '-eo', 'pipefail', '-c', task.command],
  { cwd: task.directory, env: { ...process.env, CI: 'true', CIRCLECI: 'true', ...task.env }, detached: true },
  (output) => void process.stdout.write(output),
);
for (const name of ['SIGTERM', 'SIGINT'] as const) {
  process.on(name, async () => {
    signal(-(child.pid ?? 0), 'SIGTERM');
    await sleep(KILL_AFTER_MS, undefined, { ref: false });
    signal(-(child.pid ?? 0), 'SIGKILL');
  });
}
const { code } = await exit;
if (task.cleanUp) rmSync(task.directory, { recursive: true, force: true });
process.exitCode = code ?? 143;
