import * as v from 'valibot';
import { type Callers, roleSender } from './callers.ts';
import type { Batch, FunctionsLog } from './functions-log.ts';
import type { Senders } from './senders.ts';

/** What the shim around each deployed bundle tells the gateway. */
const worker = { function: v.string(), accessKeyId: v.string() };

const startSchema = v.object({ ...worker, messageIds: v.array(v.string()) });
const linesSchema = v.object({ ...worker, lines: v.array(v.string()) });
const endSchema = v.object({ ...worker, error: v.optional(v.string()) });

export type ShimApi = {
  /** Answers `POST /_cloud/<name>` of a shim. @throws if there is no such name, or the body is wrong */
  handle(name: string, body: unknown): Promise<unknown>;
};

export function createShimApi(parts: { callers: Callers; senders: Senders; log: FunctionsLog }): ShimApi {
  const running = new Map<string, Batch>();

  async function batchStarted(body: unknown) {
    const { messageIds, ...from } = v.parse(startSchema, body);
    parts.callers.register(from.accessKeyId, {
      name: from.function,
      senderId: roleSender(from.function, from.function),
    });
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

  const routes: Record<string, (body: unknown) => unknown> = {
    'batch-started': batchStarted,
    lines,
    'batch-ended': batchEnded,
  };

  return {
    async handle(name, body) {
      const route = routes[name];
      if (!route) throw new Error(`the gateway has no /_cloud/${name}`);
      return route(body);
    },
  };
}
