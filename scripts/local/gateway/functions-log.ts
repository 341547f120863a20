import * as v from 'valibot';
import { createFeed, type Feed } from './feed.ts';

/** One line that a function printed. */
export type FunctionLine = { at: Date; function: string; accessKeyId: string; text: string };

/** How one record of an inbox ended, out of the function's own log. */
export type RecordOutcome = {
  at: Date;
  function: string;
  accessKeyId: string;
  messageId: string;
  queue: string;
  receiveCount: number;
  outcome: 'done' | 'skipped' | 'retry' | 'dead';
  reason: string | undefined;
  detail: Record<string, unknown> | undefined;
};

/** One invocation of a function with a batch of records. */
export type Batch = {
  function: string;
  accessKeyId: string;
  messageIds: readonly string[];
  startedAt: Date;
  endedAt: Date | undefined;
  /** Text of what the handler threw, if it did. */
  error: string | undefined;
};

const outcomeLine = v.object({
  message: v.literal('record handled'),
  record: v.object({
    messageId: v.string(),
    queue: v.string(),
    receiveCount: v.number(),
    outcome: v.picklist(['done', 'skipped', 'retry', 'dead']),
    reason: v.optional(v.string()),
    detail: v.optional(v.record(v.string(), v.unknown())),
  }),
});

/** What functions print, and what can be read out of it. */
export type FunctionsLog = {
  lines: Feed<FunctionLine>;
  outcomes: Feed<RecordOutcome>;
  batches: Feed<Batch>;
  take(line: FunctionLine): void;
};

export function createFunctionsLog(): FunctionsLog {
  const log = {
    lines: createFeed<FunctionLine>(),
    outcomes: createFeed<RecordOutcome>(),
    batches: createFeed<Batch>(),
  };
  return {
    ...log,
    take(line) {
      log.lines.add(line);
      const outcome = v.safeParse(outcomeLine, parseJson(line.text));
      if (outcome.success) {
        const { reason, detail, ...record } = outcome.output.record;
        const { at, accessKeyId } = line;
        log.outcomes.add({ at, function: line.function, accessKeyId, reason, detail, ...record });
      }
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
