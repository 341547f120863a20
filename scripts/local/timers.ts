/** The time and what is to happen later, as something that a test can move by hand. Milliseconds since 1970. */
export type Timers = {
  now(): number;
  /** Runs `action` once at `time`, or at once if that is past. Returns what takes it back. */
  at(time: number, action: () => void): () => void;
};

/** The longest delay that `setTimeout` keeps (a signed 32-bit number of milliseconds). */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The instance's clock. Its timers keep no process alive. */
export const systemTimers: Timers = {
  now: () => Date.now(),
  at(time, action) {
    let timer: NodeJS.Timeout;
    const wait = () => {
      const left = time - Date.now();
      timer = left > MAX_DELAY_MS ? setTimeout(wait, MAX_DELAY_MS) : setTimeout(action, Math.max(0, left));
      timer.unref();
    };
    wait();
    return () => clearTimeout(timer);
  },
};

/** A clock that stands still until it is advanced; then everything due runs in the order of its time. */
export type SimulatedTimers = Timers & { advance(milliseconds: number): void };

/** @param start its first `now()` */
export function simulatedTimers(start = 0): SimulatedTimers {
  let now = start;
  const due = new Set<{ time: number; action: () => void }>();
  const earliest = (until: number) => {
    const ready = [...due].filter((entry) => entry.time <= until);
    return ready.reduce<(typeof ready)[number] | undefined>(
      (first, entry) => (first === undefined || entry.time < first.time ? entry : first),
      undefined,
    );
  };
  return {
    now: () => now,
    at(time, action) {
      const entry = { time, action };
      due.add(entry);
      return () => {
        due.delete(entry);
      };
    },
    advance(milliseconds) {
      const end = now + milliseconds;
      for (let next = earliest(end); next !== undefined; next = earliest(end)) {
        due.delete(next);
        now = Math.max(now, next.time);
        next.action();
      }
      now = end;
    },
  };
}
