import type { CiProvider } from '../../shared/fleet/names.ts';
import type { Delivery } from './cloud/queue.ts';
import { DAY, HOUR, MINUTE } from './kernel.ts';
import type { FaultName, Options } from './options.ts';

type Window = { from: number; to: number };

const WEEK_MS = 7 * DAY;

/** When what fails. In a shorter simulation the same happens in a shorter time. */
export class Faults {
  readonly outage: Window;
  readonly zone: Window;
  readonly registration: Window;
  readonly scaling: Window;
  readonly throttling: Window;
  readonly stops: readonly Window[];
  readonly deployAt: number;
  readonly corruptAt: number;
  readonly releaseAt: number;
  readonly scaleInAt: number;
  private readonly options: Options;
  private readonly now: () => number;
  private readonly start: number;

  constructor(options: Options, start: number, now: () => number) {
    this.options = options;
    this.start = start;
    this.now = now;
    const scale = Math.min(1, options.length / WEEK_MS);
    const at = (day: number, hour: number) => start + (day * DAY + hour * HOUR) * scale;
    const window = (day: number, hour: number, length: number): Window => {
      const from = at(day, hour);
      return { from, to: from + Math.min(length, options.length / 6) };
    };
    this.outage = window(1, 14, options.outage);
    this.zone = window(2, 10, HOUR);
    this.registration = window(3, 15, HOUR);
    this.scaling = window(4, 10, HOUR);
    this.throttling = window(4, 14, HOUR);
    this.stops = [window(0, 11, 5 * MINUTE), window(3, 10, 5 * MINUTE)];
    this.deployAt = at(3, 9.5);
    this.corruptAt = at(1, 9);
    this.releaseAt = at(2, 6);
    this.scaleInAt = at(3, 14);
  }

  has(fault: FaultName): boolean {
    return this.options.faults.includes(fault);
  }

  private within({ from, to }: Window): boolean {
    const now = this.now();
    return now >= from && now < to;
  }

  isDown(provider: CiProvider): boolean {
    return this.options.outage > 0 && provider === this.options.providers[0] && this.within(this.outage);
  }

  downUntil(provider: CiProvider): number {
    return this.isDown(provider) ? this.outage.to : this.now();
  }

  get lies(): number {
    return this.has('lies') ? 0.02 : 0;
  }

  get forgets(): number {
    return this.has('forgets') ? 0.25 : 0;
  }

  delivery(): Delivery {
    return this.has('events') ? { lost: 0.02, doubled: 0.02, late: 0.01 } : { lost: 0, doubled: 0, late: 0 };
  }

  /** Whether something had failed shortly before this time that people have to know about. */
  explains(time: number): boolean {
    const windows = [
      ...(this.options.outage > 0 ? [this.outage] : []),
      ...(this.has('zone') ? [this.zone] : []),
      ...(this.has('registration') ? [this.registration] : []),
      ...(this.has('scaling') ? [this.scaling] : []),
      ...(this.has('throttling') ? [this.throttling] : []),
      ...(this.has('stops') ? this.stops : []),
      ...(this.has('deployment') ? [{ from: this.deployAt, to: this.deployAt }] : []),
      ...(this.has('snapshot') ? [{ from: this.corruptAt, to: this.corruptAt }] : []),
      ...(this.has('agents') ? [{ from: this.releaseAt, to: this.releaseAt }] : []),
    ];
    return windows.some(({ from, to }) => time >= from && time <= to + HOUR);
  }

  /** What fails at a known time, with its text. */
  list(): { at: number; text: string }[] {
    const { outage, providers } = this.options;
    return [
      ...(outage > 0 ? [{ at: this.outage.from, text: `an outage of ${providers[0]} begins` }] : []),
      ...(this.has('zone') ? [{ at: this.zone.from, text: 'an availability zone is lost' }] : []),
      ...(this.has('registration') ? [{ at: this.registration.from, text: 'registration is down' }] : []),
      ...(this.has('scaling') ? [{ at: this.scaling.from, text: 'scaling is down' }] : []),
      ...(this.has('throttling') ? [{ at: this.throttling.from, text: 'Auto Scaling throttles' }] : []),
      ...(this.has('deployment') ? [{ at: this.deployAt, text: 'a deployment' }] : []),
      ...(this.has('snapshot') ? [{ at: this.corruptAt, text: 'a corrupt snapshot' }] : []),
      ...(this.has('agents') ? [{ at: this.releaseAt, text: 'a new release of the agent' }] : []),
      ...(this.has('operator') ? [{ at: this.scaleInAt, text: 'an operator lowers capacities' }] : []),
      ...(this.has('stops') ? this.stops.map(({ from }) => ({ at: from, text: 'lifecycle is down' })) : []),
    ];
  }

  /** Whether everything that a job needs has worked for this long. */
  isCalm(provider: CiProvider, milliseconds: number): boolean {
    const now = this.now();
    const windows = [
      ...(this.options.outage > 0 && provider === this.options.providers[0] ? [this.outage] : []),
      ...(this.has('zone') ? [this.zone] : []),
      ...(this.has('registration') ? [this.registration] : []),
      ...(this.has('scaling') ? [this.scaling] : []),
      ...(this.has('throttling') ? [this.throttling] : []),
      ...(this.has('stops') ? this.stops : []),
    ];
    return windows.every(({ from, to }) => now < from || now > to + milliseconds);
  }

  /** Probability that Auto Scaling throttles a call. */
  throttled(): number {
    if (!this.has('throttling')) return 0;
    return this.within(this.throttling) ? 0.5 : 0.01;
  }

  /** A minute per day, at noon. */
  isBucketFailing(): boolean {
    if (!this.has('throttling')) return false;
    const ofDay = (this.now() - this.start) % DAY;
    return ofDay >= 12 * HOUR && ofDay < 12 * HOUR + MINUTE;
  }

  isZoneLost(zone: string): boolean {
    return this.has('zone') && zone.endsWith('a') && this.within(this.zone);
  }

  isRegistrationUp(): boolean {
    return !(this.has('registration') && this.within(this.registration));
  }

  isScalingUp(): boolean {
    return !(this.has('scaling') && this.within(this.scaling));
  }

  isLifecycleUp(): boolean {
    return !(this.has('stops') && this.stops.some((window) => this.within(window)));
  }
}
