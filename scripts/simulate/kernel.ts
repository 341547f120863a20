/**
 * Virtual time: a queue of events by their time, and random numbers from a seed. One seed gives one history, to the byte. Nothing in a
 * simulation reads the time of the computer, and nothing waits.
 */

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

type Run = () => unknown;

/** Events of the same time run in the order in which they were scheduled. */
export class Kernel {
  now: number;
  /** Events that have run. */
  steps = 0;
  private readonly schedule = new Schedule();
  private hasContinuations = false;
  private waits = 0;

  /** @param start milliseconds since 1970 */
  constructor(start: number) {
    this.now = start;
  }

  /** Runs something at a time; one that has passed means now. */
  at(time: number, run: Run): void {
    this.schedule.add(Math.max(time, this.now), run);
  }

  after(milliseconds: number, run: Run): void {
    this.at(this.now + milliseconds, run);
  }

  /** A promise that is fulfilled after some virtual time. Code of the product that waits continues in that event. */
  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(milliseconds, () => {
        this.hasContinuations = true;
        resolve();
      });
    });
  }

  /** Something was started that is not awaited: it continues before the next event. */
  background(work: Promise<unknown>): void {
    this.hasContinuations = true;
    work.catch((error: unknown) => {
      this.failure ??= { error };
    });
  }

  private failure: { error: unknown } | undefined;

  /** @param after called after each event; a true result ends the run */
  async run(until: number, after: () => boolean = () => false): Promise<void> {
    while (this.schedule.nextAt <= until) {
      this.now = this.schedule.nextAt;
      this.steps += 1;
      const result = this.schedule.take()();
      if (result instanceof Promise) await result;
      if (this.hasContinuations) {
        this.hasContinuations = false;
        this.waits += 1;
        await (this.waits % WAITS_PER_TURN === 0 ? afterTurn() : afterContinuations());
      }
      if (this.failure) throw this.failure.error;
      if (after()) return;
    }
    this.now = Math.max(this.now, until);
  }
}

/** Waits for continuations between two turns of the event loop, which frees the timers of the product that have passed. */
const WAITS_PER_TURN = 200;

/** After every continuation that needs no timer and no input: Node runs them all before what is left for the next tick. */
function afterContinuations(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

/** The same after a turn of the event loop, which costs ten times as much. */
function afterTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Children per node: a heap of four has half as many levels as one of two, and the times of four children are one line of the cache. */
const CHILDREN = 4;

/** What runs when: a heap by time, and by the order of adding where times are equal. Tens of thousands of events are in it at once. */
class Schedule {
  private times = new Float64Array(1024);
  private orders = new Float64Array(1024);
  private readonly runs: Run[] = [];
  private added = 0;

  /** The time of the first one; infinite if there is none. */
  get nextAt(): number {
    return this.runs.length === 0 ? Number.POSITIVE_INFINITY : (this.times[0] as number);
  }

  add(at: number, run: Run): void {
    this.added += 1;
    let index = this.runs.length;
    if (index === this.times.length) this.grow();
    this.runs.push(run);
    while (index > 0) {
      const parent = Math.floor((index - 1) / CHILDREN);
      // One that is equal was added before.
      if ((this.times[parent] as number) <= at) break;
      this.move(parent, index);
      index = parent;
    }
    this.set(index, at, this.added, run);
  }

  /** Removes the first one. There has to be one. */
  take(): Run {
    const { runs } = this;
    const first = runs[0] as Run;
    const last = runs.length - 1;
    const run = runs.pop() as Run;
    if (last === 0) return first;
    const at = this.times[last] as number;
    const order = this.orders[last] as number;
    let index = 0;
    for (;;) {
      const child = this.firstChild(index, last);
      if (child === undefined || !this.isBefore(child, at, order)) break;
      this.move(child, index);
      index = child;
    }
    this.set(index, at, order, run);
    return first;
  }

  /** The child that comes first; undefined if the node has none. */
  private firstChild(parent: number, length: number): number | undefined {
    const start = CHILDREN * parent + 1;
    if (start >= length) return undefined;
    let first = start;
    for (let child = start + 1; child < Math.min(start + CHILDREN, length); child += 1) {
      if (this.isBefore(child, this.times[first] as number, this.orders[first] as number)) first = child;
    }
    return first;
  }

  private isBefore(index: number, at: number, order: number): boolean {
    const own = this.times[index] as number;
    return own < at || (own === at && (this.orders[index] as number) < order);
  }

  private move(from: number, to: number): void {
    this.set(to, this.times[from] as number, this.orders[from] as number, this.runs[from] as Run);
  }

  private set(index: number, at: number, order: number, run: Run): void {
    this.times[index] = at;
    this.orders[index] = order;
    this.runs[index] = run;
  }

  private grow(): void {
    const { times, orders } = this;
    this.times = new Float64Array(2 * times.length);
    this.orders = new Float64Array(2 * orders.length);
    this.times.set(times);
    this.orders.set(orders);
  }
}

/** Random numbers of one purpose (the generator is mulberry32). Purposes do not disturb each other: a change of one keeps the others. */
export class Random {
  private state: number;

  constructor(seed: number, purpose: string) {
    let hash = 2_166_136_261 ^ seed;
    for (const character of purpose) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16_777_619);
    this.state = Math.imul(hash ^ (hash >>> 15), 2_246_822_519) >>> 0;
  }

  /** In [0, 1). */
  next = (): number => {
    this.state = (this.state + 0x6d_2b_79_f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };

  between(least: number, most: number): number {
    return least + (most - least) * this.next();
  }

  integer(least: number, most: number): number {
    return Math.floor(this.between(least, most + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() * items.length)] as T;
  }

  /** A log-normal length with this median; `spread` is the standard deviation of its logarithm. */
  lognormal(median: number, spread: number): number {
    const gauss = Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
    return median * Math.exp(spread * gauss);
  }

  /** The number of events of a Poisson process with this mean. */
  poisson(mean: number): number {
    if (mean > 60)
      return Math.max(0, Math.round(this.lognormal(1, 0) * mean + Math.sqrt(mean) * this.gauss()));
    let count = 0;
    for (let product = this.next(); product > Math.exp(-mean); product *= this.next()) count += 1;
    return count;
  }

  private gauss(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }
}

/**
 * Runs something with `Math.random` from the seed: the product spreads its retries with it. It is put back afterwards.
 */
export async function withSeededRandom<T>(random: Random, run: () => Promise<T>): Promise<T> {
  const original = Math.random;
  Math.random = random.next;
  try {
    return await run();
  } finally {
    Math.random = original;
  }
}
