import { bytesOf } from '../../../../shared/snapshot/units.ts';
import { fireSchedule } from '../../deploy/fire-schedule.ts';
import { vendorOnePackage, WARMING_GROUP } from '../fleet.ts';
import { instancesOf, linesOf, manifestOf, pointerOf } from '../queries.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { bytesText, countText } from '../table.ts';

/** Fires the schedule of the set, and waits until a newer snapshot is current and the warming instance is terminated. */
async function warmingRun(demo: Demo): Promise<string> {
  const before = (await pointerOf(demo))?.current?.id ?? '';
  await fireSchedule(demo.cloud.clients.scheduler, demo.cloud.schedules, 'aw-warming-run-default');
  const [instance] = await demo.waitFor(
    'the launch of the warming instance',
    () => {
      const instances = instancesOf(demo, WARMING_GROUP);
      return instances.length > 0 && instances;
    },
    { seconds: 300 },
  );
  const id = instance?.id ?? '';
  demo.log(`the schedule fired; instance ${id} runs the warming command`);
  const current = await demo.waitFor(
    'the promotion of the snapshot',
    async () => {
      const id = (await pointerOf(demo))?.current?.id;
      return id !== undefined && id > before ? id : undefined;
    },
    { seconds: 300, state: () => linesOf(demo, id).slice(-5) },
  );
  demo.log(`snapshot ${current} is verified and promoted`);
  await demo.waitFor(
    'the termination of the warming instance',
    () => instancesOf(demo, WARMING_GROUP).length === 0,
    { seconds: 300, state: () => linesOf(demo, id).slice(-5) },
  );
  demo.log(`instance ${id} is drained and terminated`);
  return current;
}

export const firstWarmingRun: Step = {
  title: 'warming run and promotion',
  async run(demo) {
    demo.snapshots.first = await warmingRun(demo);
    const { totals, frames } = await manifestOf(demo, demo.snapshots.first);
    expectThat(frames.length === 1, `the first snapshot has ${frames.length} objects of frames`);
    return `${bytesText(bytesOf(totals.units))} in ${countText(totals.frames)} frames, compressed to ${bytesText(totals.storedBytes)}`;
  },
};

export const secondWarmingRun: Step = {
  title: 'incremental warming run',
  async run(demo) {
    await vendorOnePackage(demo.root);
    demo.snapshots.second = await warmingRun(demo);
    const { frames, parent, totals } = await manifestOf(demo, demo.snapshots.second);
    const added = frames.find(({ id }) => id === demo.snapshots.second)?.bytes ?? Number.NaN;
    if (process.getuid?.() !== 0) {
      expectThat(parent === undefined, `the parent of the second snapshot is ${parent}`);
      return `${bytesText(added)}, the whole image: the comparison with the first one requires root`;
    }
    expectThat(parent === demo.snapshots.first, `the parent of the second snapshot is ${parent}`);
    expectThat(
      added < totals.storedBytes * 0.02,
      `the second snapshot adds ${bytesText(added)} to ${bytesText(totals.storedBytes)}`,
    );
    return `frames of ${bytesText(added)}, ${((added / totals.storedBytes) * 100).toFixed(2)} % of the image`;
  },
};
