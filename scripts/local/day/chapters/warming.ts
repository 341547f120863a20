import { canMount } from '../../../../infra/runner/src/snapshot/mounts.ts';
import { fireSchedule } from '../../deploy/fire-schedule.ts';
import { type Chapter, type Day, expectThat } from '../day.ts';
import { vendorOnePackage, WARMING_GROUP } from '../fleet.ts';
import { instancesOf, linesOf, manifestOf, pointerOf } from '../look.ts';
import { bytesText, countText } from '../table.ts';

/** Fires the set's schedule and waits until a newer snapshot is current and the machine that made it is gone. */
async function warmingRun(day: Day): Promise<string> {
  const before = (await pointerOf(day))?.current ?? '';
  await fireSchedule(day.cloud.clients.scheduler, day.cloud.schedules, 'aw-warming-run-default');
  const [machine] = await day.until(
    'the warming machine',
    async () => {
      const instances = await instancesOf(day, WARMING_GROUP);
      return instances.length > 0 && instances;
    },
    { seconds: 60 },
  );
  const id = machine?.InstanceId ?? '';
  day.tell(`the schedule fired, ${id} warms`);
  const current = await day.until(
    'the snapshot to be promoted',
    async () => {
      const pointer = await pointerOf(day);
      return pointer?.current && pointer.current > before ? pointer.current : undefined;
    },
    { seconds: 180, state: () => linesOf(day, id).slice(-5) },
  );
  day.tell(`snapshot ${current} is verified and current`);
  await day.until(
    'the warming machine to go',
    async () => (await instancesOf(day, WARMING_GROUP)).length === 0,
    { seconds: 60, state: () => linesOf(day, id).slice(-5) },
  );
  day.tell('its machine has drained and gone');
  return current;
}

export const firstWarmingRun: Chapter = {
  title: 'warming run, snapshot promoted',
  async play(day) {
    day.known.firstSnapshot = await warmingRun(day);
    const { totals, layers } = await manifestOf(day, day.known.firstSnapshot);
    expectThat(layers.length === 1, `the first snapshot has ${layers.length} layers`);
    return `${countText(totals.files)} files, ${bytesText(totals.contentBytes)} in ${bytesText(totals.bytes)}`;
  },
};

export const secondWarmingRun: Chapter = {
  title: 'second warming run, small layer',
  async play(day) {
    await vendorOnePackage(day.root);
    day.known.secondSnapshot = await warmingRun(day);
    const { layers, parent } = await manifestOf(day, day.known.secondSnapshot);
    if (!canMount()) {
      // Nothing keeps changes apart there: what is saved is the whole tree, and it is right all the same.
      expectThat(layers.length === 1, `the second snapshot has ${layers.length} layers`);
      return `${bytesText(layers[0]?.bytes ?? 0)}: all of it, since only root can mount an overlay`;
    }
    expectThat(parent === day.known.firstSnapshot, `the second snapshot was made on ${parent}`);
    const [base, top] = [layers.at(0)?.bytes ?? 0, layers.at(-1)?.bytes ?? Number.NaN];
    expectThat(layers.length === 2, `the second snapshot has ${layers.length} layers`);
    expectThat(top < base * 0.02, `its layer has ${bytesText(top)}, the first ${bytesText(base)}`);
    return `${bytesText(top)} sent, ${((top / base) * 100).toFixed(2)} % of the first`;
  },
};
