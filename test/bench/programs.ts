import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { batchOf, FIRST_EVENTS } from './first-events.ts';
import { buildVariants } from './variants.ts';

/** What one start of a program came to. */
export type Sample = {
  wallMs: number;
  cpuMs: number;
  /** How the program's one record handled; undefined if it had none. */
  outcome: string | undefined;
};

/** Reports the processor time of the process so far, in microseconds, and ends it. */
const REPORT = "const u=process.cpuUsage();process.stdout.write('\\n@'+(u.user+u.system));process.exit(0)";

/** Writes the programs that are compared: a bare Node, our bundle imported, and both bundles with each first event. */
export async function writePrograms(root: string, folder: string, name: string) {
  const first = FIRST_EVENTS[name];
  if (!first) throw new Error(`no first event for ${name}`);
  const skipped = JSON.stringify(batchOf(first.body));
  const busy = JSON.stringify(batchOf(first.busy.body, first.busy.queue, first.busy.senderId));
  const files = await buildVariants(root, folder, name);
  const ours = `require(${JSON.stringify(files.ours)})`;
  const usual = `await import(${JSON.stringify(pathToFileURL(files.usual).href)})`;
  const program = async (file: string, source: string) => {
    const path = join(folder, `${name}-${file}`);
    await writeFile(path, source);
    return path;
  };
  return {
    bare: await program('bare.cjs', REPORT),
    import: await program('import.cjs', `${ours};${REPORT}`),
    ours: await program(
      'ours.cjs',
      `${ours}.handler(${skipped},{getRemainingTimeInMillis:()=>60000}).then(()=>{${REPORT}})`,
    ),
    usual: await program(
      'usual.mjs',
      `const m=${usual};await m.handler(${skipped},{getRemainingTimeInMillis:()=>60000});${REPORT}`,
    ),
    oursBusy: await program(
      'ours-busy.cjs',
      `${ours}.handler(${busy},{getRemainingTimeInMillis:()=>60000}).then(()=>{${REPORT}})`,
    ),
    usualBusy: await program(
      'usual-busy.mjs',
      `const m=${usual};await m.handler(${busy},{getRemainingTimeInMillis:()=>60000});${REPORT}`,
    ),
  };
}

/** Starts a program in a process of its own, and waits for it. */
export function start(file: string, env: Record<string, string>): Sample {
  const began = performance.now();
  const { stdout, stderr } = spawnSync(process.execPath, [file], { env, encoding: 'utf8' });
  const wallMs = performance.now() - began;
  const cpu = /@(\d+)\s*$/.exec(stdout)?.[1];
  if (cpu === undefined) throw new Error(`${file}: ${stderr}\n${stdout}`);
  return { wallMs, cpuMs: Number(cpu) / 1000, outcome: endingIn(`${stdout}\n${stderr}`) };
}

function endingIn(log: string): string | undefined {
  const line = log.split('\n').find((text) => text.includes('"record handled"'));
  if (!line) return undefined;
  const { outcome, reason } = JSON.parse(line).record;
  return reason ? `${outcome} ${reason}` : outcome;
}
