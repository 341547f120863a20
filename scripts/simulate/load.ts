import type { Ci, Pool } from './cloud/ci.ts';
import { HOUR, type Kernel, MINUTE, Random } from './kernel.ts';
import type { Options } from './options.ts';
import type { WorldGroup } from './world.ts';

/** Load by hour of a working day, as a share of the peak. */
const PROFILE = [
  ...[0.06, 0.05, 0.05, 0.06, 0.05, 0.06, 0.1, 0.25, 0.6, 0.9, 1, 0.95],
  ...[0.7, 0.9, 1, 0.95, 0.85, 0.6, 0.35, 0.22, 0.16, 0.12, 0.1, 0.08],
];

const WEEKEND = 0.08;

/** Shortest and longest job, in seconds. */
const SHORTEST = 10;
const LONGEST = 9 * 3_600;

/** Jobs of a fan. */
const FAN = 256;

/** Hour of a day at which the load of a part of the groups is several times as high for some minutes. */
const BURST_HOURS = [9, 13, 16];

/**
 * The jobs of a week, group by group and hour by hour: runs of one to twenty jobs, fans, bursts, a few very short and very long ones, and
 * jobs that no group takes.
 */
export function scheduleLoad(
  groups: readonly WorldGroup[],
  pools: ReadonlyMap<string, Pool>,
  options: Options,
  kernel: Kernel,
  ci: Ci,
): void {
  const start = kernel.now;
  const random = new Random(options.seed, 'load');
  for (let hour = 0; hour * HOUR < options.length; hour += 1) {
    kernel.at(start + hour * HOUR, () => {
      for (const group of groups) {
        const pool = pools.get(group.pool);
        if (pool) scheduleHour(group, pool, hour);
      }
    });
  }

  function scheduleHour(group: WorldGroup, pool: Pool, hour: number): void {
    const day = Math.floor((hour + options.startHour) / 24);
    const hourOfDay = (hour + options.startHour + 24 - group.shiftHours) % 24;
    const isWeekend = day % 7 >= 5;
    const share = (PROFILE[hourOfDay] ?? 0) * (isWeekend ? WEEKEND : 1);
    const max = group.settings.maxRunners;
    const hours = Math.min(1, (start + options.length - kernel.now) / HOUR);
    const mean = share * options.load * max * (3_600 / group.meanSeconds) * hours * random.between(0.6, 1.4);
    const count = random.poisson(mean);
    const isBurst =
      !isWeekend && BURST_HOURS.includes((hour + options.startHour) % 24) && random.chance(0.15);
    // A burst is a part of the hour's jobs within two minutes.
    const burstAt = random.between(0, HOUR * hours - 2 * MINUTE);
    for (let made = 0; made < count; ) {
      const size = Math.min(count - made, runSize());
      const inBurst = isBurst && random.chance(0.6);
      const at = inBurst ? burstAt + random.between(0, 2 * MINUTE) : random.between(0, HOUR * hours);
      queueLater(
        at,
        group,
        pool,
        Array.from({ length: size }, () => length(group.meanSeconds)),
      );
      made += size;
    }
    if (max >= 100 && !isWeekend && hourOfDay >= 9 && hourOfDay <= 17 && random.chance(0.08)) {
      const seconds = random.between(60, 240);
      const lengths = Array.from({ length: FAN }, () => Math.round(random.lognormal(seconds, 0.3)));
      queueLater(random.between(0, HOUR * hours), group, pool, lengths);
    }
    if (!options.faults.includes('jobs') || !random.chance(0.002)) return;
    const kind = random.pick(['unrunnable', 'forbidden'] as const);
    const key = kind === 'forbidden' ? group.key : 'linux,gpu';
    kernel.after(random.between(0, HOUR * hours), () => {
      ci.queue(pool, key, [60, 60], group.provider === 'gha' ? kind : 'forbidden');
    });
  }

  function queueLater(delay: number, group: WorldGroup, pool: Pool, lengths: number[]): void {
    kernel.after(delay, () => {
      ci.queue(pool, group.key, lengths);
    });
  }

  function runSize(): number {
    const share = random.next();
    if (share < 0.4) return 1;
    return share < 0.9 ? random.integer(2, 6) : random.integer(7, 20);
  }

  function length(meanSeconds: number): number {
    const share = random.next();
    if (share < 0.02) return SHORTEST;
    if (share < 0.0202) return LONGEST;
    return Math.round(Math.min(LONGEST, Math.max(SHORTEST, random.lognormal(meanSeconds * 0.78, 0.7))));
  }
}
