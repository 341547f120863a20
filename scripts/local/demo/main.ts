import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { writeDescriptor } from '../descriptor.ts';
import { CloudEnded, withCloud } from '../with-cloud.ts';
import { createConsole } from './console.ts';
import { checkoutFolder, fleet, makeCheckout } from './fleet.ts';
import { keepAliveText } from './keep-alive.ts';
import type { Demo, Step } from './step.ts';
import { alarmToIncident, poisonedMessage } from './steps/paging.ts';
import { handEdit } from './steps/parameters.ts';
import { corruptSnapshot } from './steps/rollback.ts';
import { protectedFromScaleIn, scaleOut, spotReclaim } from './steps/runners.ts';
import { firstWarmingRun, secondWarmingRun } from './steps/warming.ts';
import { type Row, renderTable } from './table.ts';
import { waitFor } from './wait-for.ts';

/** `npm start`: runs every step in a local cloud and prints one table. */
const STEPS: readonly Step[] = [
  firstWarmingRun,
  scaleOut,
  protectedFromScaleIn,
  spotReclaim,
  secondWarmingRun,
  corruptSnapshot,
  alarmToIncident,
  handEdit,
  poisonedMessage,
];

async function main(keep: boolean): Promise<number> {
  const root = resolve(import.meta.dirname, '../../..');
  const output = createConsole();
  const started = performance.now();
  try {
    await makeCheckout(root);
    return await withCloud(fleet(root), async (cloud, signal) => {
      const startSeconds = (performance.now() - started) / 1000;
      const rows: Row[] = [
        {
          step: 'start of the local cloud',
          seconds: startSeconds,
          result: `${cloud.schedules.length} schedules`,
          outcome: 'ok',
        },
      ];
      output.title('start of the local cloud');
      const demo: Demo = {
        root,
        cloud,
        log: output.line,
        waitFor: (what, probe, options) => waitFor(what, probe, { ...options, signal }),
        snapshots: {},
      };
      rows.push(...(await runAll(demo, signal)));
      console.log(`\n${renderTable(rows)}\n`);
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

  /** Stops at the first step that fails: later steps need its result. */
  async function runAll(demo: Demo, signal: AbortSignal): Promise<Row[]> {
    const rows: Row[] = [];
    let failed = false;
    for (const step of STEPS) {
      if (failed) {
        rows.push({ step: step.title, seconds: 0, result: '', outcome: 'not run' });
        continue;
      }
      output.title(step.title);
      const start = performance.now();
      const row = { step: step.title, seconds: 0, result: '', outcome: 'ok' as Row['outcome'] };
      try {
        row.result = await step.run(demo);
      } catch (error) {
        if (signal.aborted) throw error;
        failed = true;
        row.outcome = 'failed';
        row.result = error instanceof Error ? error.message.slice(0, 120) : String(error);
        console.error(error);
      }
      row.seconds = (performance.now() - start) / 1000;
      rows.push(row);
    }
    return rows;
  }
}

const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
try {
  process.exitCode = await main(values.keep);
} catch (error) {
  if (!(error instanceof CloudEnded)) throw error;
  console.error(error.message);
  process.exitCode = error.exitCode;
}
