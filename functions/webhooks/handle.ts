import * as v from 'valibot';
import { type BacklogHint, concerns } from '../../shared/fleet/backlog-hint.ts';
import type { UrlAnswer, UrlRequest } from '../../shared/runtime/define-url-function.ts';
import { nextHint, noteHint, noteSeen, wasSeen } from './hint-memory.ts';
import type { HookProvider, WebhooksDeps } from './ports.ts';
import { claimOf, isSignedWith } from './signature.ts';

/** Path of each provider below the URL of the function. */
const PATHS = new Map<string, HookProvider>([
  ['/github', 'gha'],
  ['/buildkite', 'bk'],
]);

/** Events that end with a job in a queue. `job.activated`: a job that was blocked is queued. */
const BUILDKITE_QUEUED = ['job.scheduled', 'job.activated'];

const githubSchema = v.object({
  action: v.optional(v.string()),
  /** Some deliveries have null. Other events, such as `ping`, have none. */
  workflow_job: v.nullish(v.looseObject({})),
  repository: v.optional(v.object({ full_name: v.pipe(v.string(), v.maxLength(256)) })),
});
const buildkiteSchema = v.object({ event: v.string() });

/**
 * Answers one request of anybody on the Internet. The signature is verified over the bytes of the body before they are parsed. A valid
 * request can do one thing: leave a hint that a source is worth a read. No log line contains a part of a body.
 */
export async function handleWebhook(request: UrlRequest, deps: WebhooksDeps): Promise<UrlAnswer> {
  const provider = request.method === 'POST' ? PATHS.get(request.path) : undefined;
  if (!provider) return answer(404, 'rejected', 'unknown-path');
  const now = deps.clock.now();
  const claim = claimOf(provider, request.headers, now);
  if (!claim) return answer(401, 'rejected', 'no-signature');
  const keys = await deps.keys.of(provider);
  // The same answer as for a path that does not exist.
  if (keys.length === 0) return answer(404, 'rejected', 'no-secret');
  if (!isSignedWith(claim, request.body, keys)) return answer(401, 'rejected', 'wrong-signature');
  const signature = claim.mac.toString('base64');
  if (wasSeen(deps.memory, signature, now.getTime())) return answer(200, 'skipped', 'repeated');
  const answered = await handleSigned(provider, request.body, deps);
  // What was refused is refused again when it is sent again.
  if (answered.status < 300) noteSeen(deps.memory, signature, now.getTime());
  return answered;
}

async function handleSigned(
  provider: HookProvider,
  body: Uint8Array,
  deps: WebhooksDeps,
): Promise<UrlAnswer> {
  const read = provider === 'gha' ? readGithub(body) : readBuildkite(body);
  if (read === undefined) return answer(400, 'rejected', 'malformed-body');
  if (read === 'other-event') return answer(200, 'skipped', read);
  const groups = await deps.groups.all();
  if (!groups.some(({ settings }) => concerns(read.hint, settings)))
    return answer(404, 'rejected', 'no-group');
  if (!read.isQueued) return answer(200, 'skipped', 'nothing-queued');
  return hint(read.hint, deps);
}

async function hint(about: BacklogHint, { inbox, memory, clock }: WebhooksDeps): Promise<UrlAnswer> {
  const source = about.provider === 'gha' ? about.repository.toLowerCase() : about.provider;
  const now = clock.now().getTime();
  const next = nextHint(memory, source, now);
  if (typeof next === 'string') return answer(202, 'skipped', next);
  await inbox.send(about, new Date(next.at), next.delaySeconds);
  noteHint(memory, source, next.at, now);
  return { ...answer(202, 'done'), detail: { provider: about.provider, delaySeconds: next.delaySeconds } };
}

/** What a webhook is about, or that it is about something else; undefined: it cannot be read. */
type Read = { hint: BacklogHint; isQueued: boolean } | 'other-event' | undefined;

function readGithub(body: Uint8Array): Read {
  const parsed = parse(githubSchema, body);
  if (!parsed) return undefined;
  const { action, workflow_job, repository } = parsed;
  if (!workflow_job || !repository) return 'other-event';
  return { hint: { provider: 'gha', repository: repository.full_name }, isQueued: action === 'queued' };
}

function readBuildkite(body: Uint8Array): Read {
  const parsed = parse(buildkiteSchema, body);
  if (!parsed) return undefined;
  if (!parsed.event.startsWith('job.')) return 'other-event';
  return { hint: { provider: 'bk' }, isQueued: BUILDKITE_QUEUED.includes(parsed.event) };
}

function parse<S extends v.GenericSchema>(schema: S, body: Uint8Array): v.InferOutput<S> | undefined {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), Buffer.from(body).toString('utf8'));
  return result.success ? result.output : undefined;
}

function answer(status: number, outcome: string, reason?: string): UrlAnswer {
  return { status, body: {}, outcome, ...(reason !== undefined && { reason }) };
}
