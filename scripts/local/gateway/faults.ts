import type { InjectedFault } from '../service.ts';

/** Which calls a fault hits, and what they get instead of an answer. */
export type FaultRule = {
  /** The service's name in signatures. */
  service: string;
  /** One operation or several; all of the service's if absent. */
  operations?: readonly string[];
  /** Only calls of this caller. */
  caller?: string;
  /** Every n-th matching call, counting from the n-th. */
  every?: number;
  /** Each matching call with this probability, 0 to 1. */
  probability?: number;
  /** At most this many times. */
  times?: number;
  /**
   * What happens: an error answer, a connection that breaks before the call, an answer that is lost after the call has had its effect,
   * or an answer that is late by so many milliseconds.
   */
  effect:
    | { kind: 'error'; error: InjectedFault }
    | { kind: 'disconnect' }
    | { kind: 'lose-answer' }
    | { kind: 'delay'; ms: number };
};

/** Answers of services that are asked too much, as each of them words it. */
export const THROTTLED = {
  autoscaling: { status: 400, code: 'Throttling', message: 'Rate exceeded' },
  s3: { status: 503, code: 'SlowDown', message: 'Please reduce your request rate.' },
  ssm: { status: 400, code: 'ThrottlingException', message: 'Rate exceeded' },
  lambda: { status: 429, code: 'TooManyRequestsException', message: 'Rate Exceeded.' },
  sqs: { status: 400, code: 'RequestThrottled', message: 'Request is throttled.' },
} as const satisfies Record<string, InjectedFault>;

export type FaultTarget = { service: string; operation: string; caller: string };

export type Faults = {
  /** Adds a rule; the returned function removes it and returns how often it applied. */
  add(rule: FaultRule): () => number;
  /** What happens to this call, if anything; the first rule that hits decides. */
  effectOn(target: FaultTarget): FaultRule['effect'] | undefined;
  clear(): void;
};

/** @param random in [0, 1) */
export function createFaults(random: () => number = Math.random): Faults {
  const rules = new Set<{ rule: FaultRule; seen: number; hits: number }>();
  return {
    add(rule) {
      const entry = { rule, seen: 0, hits: 0 };
      rules.add(entry);
      return () => {
        rules.delete(entry);
        return entry.hits;
      };
    },
    effectOn(target) {
      for (const entry of rules) {
        const { rule } = entry;
        if (!matches(rule, target)) continue;
        entry.seen += 1;
        if (rule.times !== undefined && entry.hits >= rule.times) continue;
        if (rule.every !== undefined && entry.seen % rule.every !== 0) continue;
        if (rule.probability !== undefined && random() >= rule.probability) continue;
        entry.hits += 1;
        return rule.effect;
      }
      return undefined;
    },
    clear: () => rules.clear(),
  };
}

function matches(rule: FaultRule, target: FaultTarget): boolean {
  if (rule.service !== target.service) return false;
  if (rule.caller !== undefined && rule.caller !== target.caller) return false;
  return rule.operations === undefined || rule.operations.includes(target.operation);
}
