import * as v from 'valibot';
import { INSTANCE_ID } from './names.ts';

/**
 * The contract between aw-runner and the function `registration`: one POST with a JSON body per call, signed with the role of
 * the instance (SigV4, service `lambda`). The runner writes requests and reads answers with these schemas, and the function
 * does the reverse. The request names no instance and no group: the function takes both from the signature.
 */

/** Most bytes of a request. An agent of Buildkite sends its own description, which is the largest part. */
export const MAX_REQUEST_BYTES = 16_384;

/** Longest wait that an answer may ask for, in seconds. */
export const MAX_RETRY_AFTER_SECONDS = 900;

/**
 * How the agent of the previous registration ended. `none`: there was none on this instance. `job`: it ran its job, so the
 * provider has removed its registration. `other`: everything else; the function first removes the previous registration.
 */
export const PREVIOUS_ENDS = ['none', 'job', 'other'] as const;

/** The name of a registration: `<instance id>-<n>`. A name is never used again. */
const registrationName = v.pipe(v.string(), v.maxLength(64), v.regex(/^i-[0-9a-f]{8,17}-\d{1,9}$/));

/** What the instance asks for. */
export const registrationRequestSchema = v.variant('action', [
  v.object({
    action: v.literal('register'),
    previous: v.picklist(PREVIOUS_ENDS),
    /**
     * Name of the registration that `previous` is about. With it the function recognises an answer that was lost after a finished
     * job: its record is ahead of this name, so it removes what it issued in between.
     */
    last: v.optional(registrationName),
    /** Buildkite only: the body of the agent's own `register` call. The function checks its queue. */
    agent: v.optional(v.record(v.string(), v.unknown())),
  }),
  v.object({
    action: v.literal('release'),
    /** The registration whose agent is idle and takes no further job. */
    name: registrationName,
  }),
]);
export type RegistrationRequest = v.InferOutput<typeof registrationRequestSchema>;

/** One registration, as the agent of the provider needs it. Every field but `name` and `provider` is a secret. */
export const registrationSchema = v.variant('provider', [
  v.object({
    provider: v.literal('gha'),
    name: registrationName,
    jitConfig: v.pipe(v.string(), v.nonEmpty()),
  }),
  v.object({
    provider: v.literal('bk'),
    name: registrationName,
    /** The provider's answer to `register`, with the real endpoint in `endpoint`. */
    answer: v.looseObject({ access_token: v.string(), endpoint: v.pipe(v.string(), v.url()) }),
  }),
  v.object({
    provider: v.literal('cci'),
    name: registrationName,
    resourceClass: v.string(),
    authToken: v.pipe(v.string(), v.nonEmpty()),
  }),
]);
export type Registration = v.InferOutput<typeof registrationSchema>;

/**
 * Why a call was not answered with its result. The first three are about the instance, `budget` and `rate-limited` about the
 * load, and the others about the provider or the deployment: the runner waits and is neither unhealthy nor busy.
 */
export const REFUSALS = [
  /** 409. The instance is not InService (yet). The runner repeats Ready and asks again. */
  'not-in-service',
  /** 409. The instance terminates, or Auto Scaling does not know it. No registration follows. */
  'terminating',
  /** 409. The previous registration still runs a job, by the provider's answer to its removal. */
  'previous-busy',
  /** 429. Less than 10 s since the last answer to this instance. */
  'too-soon',
  /** 429. The budget of the installation is spent. */
  'budget',
  /** 429. The provider refused for its rate limit. */
  'rate-limited',
  /** 503. A secret is missing, empty, malformed or refused. An alarm names it. */
  'credential',
  /** 503. The provider refuses the settings of the group: its repository, runner group or queue does not exist. */
  'settings',
  /** 503. The provider or AWS does not answer, or answers with an error. */
  'unavailable',
] as const;
export type Refusal = (typeof REFUSALS)[number];

/** HTTP status of each refusal. */
export const REFUSAL_STATUS: Readonly<Record<Refusal, 409 | 429 | 503>> = {
  'not-in-service': 409,
  terminating: 409,
  'previous-busy': 409,
  'too-soon': 429,
  budget: 429,
  'rate-limited': 429,
  credential: 503,
  settings: 503,
  unavailable: 503,
};

/** The body of every answer of the function. A request that is malformed or not a runner's gets 400 or 403 with `error`. */
export const registrationAnswerSchema = v.variant('outcome', [
  v.object({ outcome: v.literal('registered'), registration: registrationSchema }),
  /**
   * `removed`: the provider assigns no job any more. `busy`: it runs or may run a job, so the agent stays. `watch`: its labels
   * are removed; the runner calls again once the agent has been locally idle for `afterSeconds`. `unsupported`: the provider
   * cannot remove an idle agent; the runner stops it locally.
   */
  v.object({
    outcome: v.literal('released'),
    result: v.picklist(['removed', 'busy', 'watch', 'unsupported']),
    afterSeconds: v.optional(v.number()),
  }),
  v.object({
    outcome: v.literal('refused'),
    reason: v.picklist(REFUSALS),
    retryAfterSeconds: v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_RETRY_AFTER_SECONDS)),
  }),
]);
export type RegistrationAnswer = v.InferOutput<typeof registrationAnswerSchema>;

/** The instance and the number in the name of a registration, or undefined. */
export function parseRegistrationName(name: string): { instanceId: string; n: number } | undefined {
  const dash = name.lastIndexOf('-');
  const instanceId = name.slice(0, dash);
  const n = name.slice(dash + 1);
  return INSTANCE_ID.test(instanceId) && /^\d{1,9}$/.test(n) ? { instanceId, n: Number(n) } : undefined;
}
