import { fireSchedule } from '../../deploy/fire-schedule.ts';
import { vendorOnePackage, WARMING_GROUP } from '../fleet.ts';
import { instancesOf, linesOf, manifestOf, pointerOf } from '../queries.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { bytesText, countText } from '../table.ts';

/** Fires the schedule of the set, and waits until a newer snapshot is current and the warming instance is terminated. */
async function warmingRun(demo: Demo): Promise<string> {
  const before = (await pointerOf(demo))?.current ?? '';
  await fireSchedule(demo.cloud.clients.scheduler, demo.cloud.schedules, 'aw-warming-run-default');
  const [instance] = await demo.waitFor(
    'the launch of the warming instance',
    async () => {
      const instances = await instancesOf(demo, WARMING_GROUP);
      return instances.length > 0 && instances;
    },
    { seconds: 60 },
  );
  const id = instance?.InstanceId ?? '';
  demo.log(`the schedule fired; instance ${id} runs the warming command`);
  const current = await demo.waitFor(
    'the promotion of the snapshot',
    async () => {
      const pointer = await pointerOf(demo);
      return pointer?.current && pointer.current > before ? pointer.current : undefined;
    },
    { seconds: 180, state: () => linesOf(demo, id).slice(-5) },
  );
  demo.log(`snapshot ${current} is verified and promoted`);
  await demo.waitFor(
    'the termination of the warming instance',
    async () => (await instancesOf(demo, WARMING_GROUP)).length === 0,
    { seconds: 60, state: () => linesOf(demo, id).slice(-5) },
  );
  demo.log(`instance ${id} is drained and terminated`);
  return current;
}

export const firstWarmingRun: Step = {
  title: 'warming run and promotion',
  async run(demo) {
    demo.snapshots.first = await warmingRun(demo);
    const { totals, layers } = await manifestOf(demo, demo.snapshots.first);
    expectThat(layers.length === 1, `the first snapshot has ${layers.length} layers`);
    return `${countText(totals.files)} files, ${bytesText(totals.contentBytes)}, compressed to ${bytesText(totals.bytes)}`;
  },
};

export const secondWarmingRun: Step = {
  title: 'incremental warming run',
  async run(demo) {
    await vendorOnePackage(demo.root);
    demo.snapshots.second = await warmingRun(demo);
    const { layers, parent } = await manifestOf(demo, demo.snapshots.second);
    // Without root aw-runner cannot mount layers and extracts them.
    if (process.getuid?.() !== 0) {
      // Without an overlay mount the runner saves the whole tree instead of the changes.
      expectThat(layers.length === 1, `the second snapshot has ${layers.length} layers`);
      return `${bytesText(layers[0]?.bytes ?? 0)}, the whole tree: an overlay mount requires root`;
    }
    expectThat(parent === demo.snapshots.first, `the parent of the second snapshot is ${parent}`);
    const [base, top] = [layers.at(0)?.bytes ?? 0, layers.at(-1)?.bytes ?? Number.NaN];
    expectThat(layers.length === 2, `the second snapshot has ${layers.length} layers`);
    expectThat(top < base * 0.02, `the second layer has ${bytesText(top)}, the first has ${bytesText(base)}`);
    return `layer of ${bytesText(top)}, ${((top / base) * 100).toFixed(2)} % of the first`;
  },
};
