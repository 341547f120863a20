import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { writeDescriptor } from '../descriptor.ts';
import { CloudEnded, withCloud } from '../with-cloud.ts';
import { alarmToIncident, poisonedMessage } from './chapters/paging.ts';
import { handEdit } from './chapters/parameters.ts';
import { corruptSnapshot } from './chapters/rollback.ts';
import { protectedFromScaleIn, scaleOut, spotReclaim } from './chapters/runners.ts';
import { firstWarmingRun, secondWarmingRun } from './chapters/warming.ts';
import type { Chapter, Day } from './day.ts';
import { checkoutFolder, fleet, makeCheckout } from './fleet.ts';
import { howToPlay } from './keep.ts';
import { narrator } from './narrator.ts';
import { type Row, renderTable } from './table.ts';
import { until } from './until.ts';

/** `npm start`: one day of a warm fleet on this machine. */
const CHAPTERS: readonly Chapter[] = [
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
  const say = narrator();
  const began = performance.now();
  try {
    await makeCheckout(root);
    return await withCloud(fleet(root), async (cloud, signal) => {
      const upSeconds = (performance.now() - began) / 1000;
      const rows: Row[] = [
        {
          step: 'local cloud up',
          seconds: upSeconds,
          figure: `${cloud.schedules.length} schedules`,
          outcome: 'ok',
        },
      ];
      say.title('local cloud up');
      const day: Day = {
        root,
        cloud,
        tell: say.line,
        until: (what, probe, options) => until(what, probe, { ...options, signal }),
        known: {},
      };
      rows.push(...(await playAll(day, signal)));
      console.log(`\n${renderTable(rows)}\n`);
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      const failed = rows.filter((row) => row.outcome !== 'ok').length;
      console.log(failed === 0 ? `the whole day worked, in ${seconds} s` : `${failed} steps did not work`);
      if (keep) {
        await writeDescriptor(root, cloud.descriptor);
        console.log(howToPlay(cloud));
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      }
      return failed === 0 ? 0 : 1;
    });
  } finally {
    await rm(checkoutFolder(root), { recursive: true, force: true });
  }

  /** A step that fails ends the day: the later ones build on it. */
  async function playAll(day: Day, signal: AbortSignal): Promise<Row[]> {
    const rows: Row[] = [];
    let failed = false;
    for (const chapter of CHAPTERS) {
      if (failed) {
        rows.push({ step: chapter.title, seconds: 0, figure: '', outcome: 'not run' });
        continue;
      }
      say.title(chapter.title);
      const start = performance.now();
      const row = { step: chapter.title, seconds: 0, figure: '', outcome: 'ok' as Row['outcome'] };
      try {
        row.figure = await chapter.play(day);
      } catch (error) {
        if (signal.aborted) throw error;
        failed = true;
        row.outcome = 'failed';
        row.figure = error instanceof Error ? error.message.slice(0, 120) : String(error);
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
