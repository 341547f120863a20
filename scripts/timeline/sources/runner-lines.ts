import type { TimelineEvent } from '../events.ts';

/**
 * Reads the log lines of `aw-runner`: the jobs of an instance, its boot and its drain. A job with root can write such lines, so they count
 * for the instance alone whose log they are in, and nothing of the deployment acts on them.
 */
export type RunnerLines = {
  /**
   * @param runner the instance whose log has the line
   * @param group its runner group
   * @param loggedAt used where the line has no time of its own, milliseconds since 1970
   */
  read(line: { text: string; runner: string; group: string }, loggedAt: number): TimelineEvent[];
  /** Jobs whose end no line has. Called once, after the last line. */
  end(): TimelineEvent[];
};

type OpenJob = { id: string; name: string; runner: string; group: string; startedAt: number };

const STARTED = /^agent (\S+) has the job (".*")$/;
const ENDED = /^agent (\S+): its job has ended$/;
const AGENT_ENDED = /^agent (\S+) ended with (.+?) (after its job|without a job)$/;
const RESTORED = /^(restored|previous|cold|none) in ([\d.]+) s(?: |$)/;
const DRAINING = /^draining: the instance is (.+)$/;
const UNHEALTHY = /^reported: Runner Unhealthy: (.+)$/;
const FAILED = /^boot failed at (.+)$/;

/** What the runner reads in its metadata, as far as it is a reason: that Auto Scaling terminates it has a reason elsewhere. */
const WHYS: Readonly<Record<string, string>> = { reclaimed: 'Spot interruption' };

export function runnerLines(): RunnerLines {
  const open = new Map<string, OpenJob>();
  const counts = new Map<string, number>();

  function close(runner: string, finishedAt: number): TimelineEvent[] {
    const job = open.get(runner);
    if (!job) return [];
    open.delete(runner);
    return [{ event: 'job', ...job, finishedAt }];
  }

  return {
    read({ text, runner, group }, loggedAt) {
      const [, stamp = '', message = text] = /^(\d{4}-\d\d-\d\dT[\d:.]+Z) (.*)$/.exec(text) ?? [];
      const time = Date.parse(stamp);
      const at = Number.isNaN(time) ? loggedAt : time;
      const who = { runner, group };
      const started = STARTED.exec(message);
      if (started) {
        const [, agent = '', quoted = ''] = started;
        const count = (counts.get(agent) ?? 0) + 1;
        counts.set(agent, count);
        const before = close(runner, at);
        open.set(runner, {
          id: count === 1 ? agent : `${agent} ${count}`,
          name: unquote(quoted),
          ...who,
          startedAt: at,
        });
        return before;
      }
      if (ENDED.test(message) || AGENT_ENDED.test(message)) return close(runner, at);
      const [, outcome, seconds] = RESTORED.exec(message) ?? [];
      if (outcome !== undefined) {
        const result = outcome as 'restored' | 'previous' | 'cold' | 'none';
        return [{ event: 'restore', at, ...who, outcome: result, seconds: Number(seconds) }];
      }
      const [, why] = DRAINING.exec(message) ?? [];
      if (why !== undefined) return [{ event: 'drain', at, ...who, ...(WHYS[why] && { why: WHYS[why] }) }];
      const problem = UNHEALTHY.exec(message)?.[1] ?? FAILED.exec(message)?.[0];
      if (problem !== undefined) return [{ event: 'note', at, level: 'warning', text: problem, ...who }];
      return [];
    },
    end: () => [...open.values()].map((job) => ({ event: 'job', ...job })),
  };
}

function unquote(quoted: string): string {
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted.slice(1, -1);
  }
}
