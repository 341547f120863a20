import * as v from 'valibot';
import type { Call } from './call.ts';
import type { Callers } from './callers.ts';
import type { Feed } from './feed.ts';
import type { Batch, FunctionsLog } from './functions-log.ts';
import { handledMessage } from './handled.ts';
import type { Senders } from './senders.ts';

/** Requests of the wrapper around each deployed bundle, and of `invoke`. */
const worker = { function: v.string(), accessKeyId: v.string() };

const startSchema = v.object({ ...worker, messageIds: v.array(v.string()) });
const linesSchema = v.object({ ...worker, lines: v.array(v.string()) });
const endSchema = v.object({ ...worker, error: v.optional(v.string()) });
const handledSchema = v.object({ messageId: v.string(), seconds: v.number() });

/** The gateway's own API, below `/_cloud/`. */
export type CloudApi = {
  /** Answers `POST /_cloud/<name>`. @throws if there is no such name, or the body is wrong */
  handle(name: string, body: unknown): Promise<unknown>;
};

export function createCloudApi(parts: {
  callers: Callers;
  senders: Senders;
  log: FunctionsLog;
  calls: Feed<Call>;
}): CloudApi {
  const running = new Map<string, Batch>();

  async function batchStarted(body: unknown) {
    const { messageIds, ...from } = v.parse(startSchema, body);
    const name = from.function;
    parts.callers.register(from.accessKeyId, { name, role: name, session: name });
    const batch: Batch = { ...from, messageIds, startedAt: new Date(), endedAt: undefined, error: undefined };
    running.set(from.accessKeyId, batch);
    const senders = await Promise.all(messageIds.map(async (id) => [id, await parts.senders.of(id)]));
    return { senders: Object.fromEntries(senders) };
  }

  function lines(body: unknown) {
    const { lines: texts, ...from } = v.parse(linesSchema, body);
    for (const text of texts) parts.log.take({ at: new Date(), ...from, text });
    return {};
  }

  function batchEnded(body: unknown) {
    const { accessKeyId, error } = v.parse(endSchema, body);
    const batch = running.get(accessKeyId);
    if (!batch) return {};
    running.delete(accessKeyId);
    parts.log.batches.add({ ...batch, endedAt: new Date(), error });
    return {};
  }

  async function handled(body: unknown) {
    const { messageId, seconds } = v.parse(handledSchema, body);
    return { handled: await handledMessage(parts, messageId, seconds) };
  }

  const routes = new Map<string, (body: unknown) => unknown>([
    ['batch-started', batchStarted],
    ['lines', lines],
    ['batch-ended', batchEnded],
    ['handled', handled],
  ]);

  return {
    async handle(name, body) {
      const route = routes.get(name);
      if (!route) throw new Error(`the gateway has no /_cloud/${name}`);
      return route(body);
    },
  };
}
