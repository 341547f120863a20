import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { writeDescriptor } from '../descriptor.ts';
import { CloudEnded, withCloud } from '../with-cloud.ts';
import { createConsole } from './console.ts';
import { DAY } from './day.ts';
import { checkoutFolder, fleet, makeCheckout } from './fleet.ts';
import { keepAliveText } from './keep-alive.ts';
import { runSteps } from './run-steps.ts';
import type { Demo, Step } from './step.ts';
import { type Row, renderTable } from './table.ts';
import { writeTimeline } from './timeline.ts';
import { waitFor } from './wait-for.ts';
import { warmPackages } from './warm-packages.ts';

/** `npm start`: runs every step in a local cloud and prints one table. */
async function main(keep: boolean): Promise<number> {
  const root = resolve(import.meta.dirname, '../../..');
  const output = createConsole();
  const started = performance.now();
  const began = new Date();
  try {
    await makeCheckout(root);
    return await withCloud(fleet(root, await warmPackages(root)), async (cloud, signal) => {
      const startSeconds = (performance.now() - started) / 1000;
      const rows: Row[] = [
        {
          step: 'start of the local cloud',
          seconds: startSeconds,
          result: `${cloud.schedules.length} schedules`,
          outcome: 'ok',
        },
      ];
      const shared = { root, cloud, snapshots: {}, burst: [] };
      const demoOf = (step: Step): Demo => ({
        ...shared,
        log: (text) => output.line(step.title, text),
        waitFor: (what, probe, options) => waitFor(what, probe, { ...options, signal }),
      });
      rows.push(...(await runSteps(DAY, demoOf, signal)));
      console.log(`\n${renderTable(rows)}\n`);
      console.log(`timeline of the day: ${await writeTimeline(root, cloud, began)}`);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const failed = rows.filter((row) => row.outcome !== 'ok').length;
      console.log(
        failed === 0 ? `all steps succeeded in ${seconds} s` : `${failed} steps failed or did not run`,
      );
      if (keep) {
        await writeDescriptor(root, cloud.descriptor);
        console.log(keepAliveText(cloud));
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      }
      return failed === 0 ? 0 : 1;
    });
  } finally {
    await rm(checkoutFolder(root), { recursive: true, force: true });
  }
}

const USAGE = `usage: npm start [-- --keep]

Starts the local cloud, plays a day of three providers in it, and prints one table.
  --keep   leaves the local cloud running after the table, until Ctrl-C`;

/** @returns the options, or undefined after it has set the exit code */
function options(): { keep: boolean } | undefined {
  try {
    const { values } = parseArgs({
      options: { keep: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
    });
    if (!values.help) return values;
    console.log(USAGE);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exitCode = 2;
  }
  return undefined;
}

try {
  const values = options();
  if (values) process.exitCode = await main(values.keep);
} catch (error) {
  if (!(error instanceof CloudEnded)) throw error;
  console.error(error.message);
  process.exitCode = error.exitCode;
}
