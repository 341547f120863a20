import * as v from 'valibot';
import { createFeed, type Feed } from './feed.ts';

/** One line that a function printed. */
export type FunctionLine = { at: Date; function: string; accessKeyId: string; text: string };

/** How one record of an inbox ended, out of the function's own log. */
export type RecordEnding = {
  at: Date;
  function: string;
  accessKeyId: string;
  messageId: string;
  queue: string;
  receiveCount: number;
  ending: 'done' | 'skipped' | 'retry' | 'dead';
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

const endingLine = v.object({
  message: v.literal('record ended'),
  record: v.object({
    messageId: v.string(),
    queue: v.string(),
    receiveCount: v.number(),
    ending: v.picklist(['done', 'skipped', 'retry', 'dead']),
    reason: v.optional(v.string()),
    detail: v.optional(v.record(v.string(), v.unknown())),
  }),
});

/** What functions print, and what can be read out of it. */
export type FunctionsLog = {
  lines: Feed<FunctionLine>;
  endings: Feed<RecordEnding>;
  batches: Feed<Batch>;
  take(line: FunctionLine): void;
};

export function createFunctionsLog(): FunctionsLog {
  const log = {
    lines: createFeed<FunctionLine>(),
    endings: createFeed<RecordEnding>(),
    batches: createFeed<Batch>(),
  };
  return {
    ...log,
    take(line) {
      log.lines.add(line);
      const ending = v.safeParse(endingLine, parseJson(line.text));
      if (ending.success) {
        const { reason, detail, ...record } = ending.output.record;
        const { at, accessKeyId } = line;
        log.endings.add({ at, function: line.function, accessKeyId, reason, detail, ...record });
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
