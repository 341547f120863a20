import * as v from 'valibot';
import { parseGroupId } from './names.ts';

/**
 * `config/groups.json` in the bucket of the deployment: what the functions need to know about each runner group and its CI
 * provider. Terraform writes it; it holds names of secrets and no secret. An object, since hundreds of groups do not fit in
 * the 4 KB of a function's environment.
 */
export const GROUPS_KEY = 'config/groups.json';

const text = v.pipe(v.string(), v.nonEmpty(), v.maxLength(1_024));
const https = v.pipe(text, v.url());

/** Where the agents of a group register, per provider. */
const providerSettings = v.variant('provider', [
  v.object({
    provider: v.literal('gha'),
    /** `https://api.github.com`; `https://<host>/api/v3` for GitHub Enterprise Server; `https://api.<name>.ghe.com`. */
    apiUrl: https,
    owner: text,
    /** Absent: the runners belong to the organization. */
    repository: v.optional(text),
    /** The repository of `owner` whose queued jobs count for the group; absent: `repository`. */
    jobsRepository: v.optional(text),
    /** Ids or file names of workflows; if any are named, queued jobs of others do not count for the group. */
    workflowIds: v.optional(v.array(text)),
    /** Name of the runner group of the organization; absent: the default group. */
    runnerGroup: v.optional(text),
    labels: v.pipe(v.array(text), v.minLength(1), v.maxLength(100)),
    /** Secret of one or several GitHub Apps, and secret of the plain token that is used without an App. */
    appSecret: text,
    tokenSecret: text,
  }),
  v.object({
    provider: v.literal('bk'),
    /** `https://agent.buildkite.com/v3`. */
    apiUrl: https,
    queue: text,
    tokenSecret: text,
  }),
  v.object({
    provider: v.literal('cci'),
    /** `https://runner.circleci.com`, or the host of a CircleCI server. */
    apiUrl: https,
    credentialsSecret: text,
  }),
]);

const groupSettings = v.intersect([
  v.object({
    /** The name of the role of the group's instances. */
    role: text,
    autoScalingGroup: text,
    minRunners: v.number(),
    maxRunners: v.number(),
    /** A warming group has no agent. */
    takesJobs: v.boolean(),
    /** Polls of the backlog per minute, 1 to 3; absent: 1. */
    pollsPerMinute: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(3))),
    /** Age from which an instance is replaced; absent: none. */
    maxInstanceLifetimeSeconds: v.optional(v.number()),
    /** Whether instances of an older version of the launch template are replaced; absent: no. */
    replaceOutdated: v.optional(v.boolean()),
    /** Runners per queued job; absent: 1. */
    scaleOutFactor: v.optional(v.pipe(v.number(), v.gtValue(0))),
  }),
  providerSettings,
]);

export const groupsFileSchema = v.object({
  version: v.literal(1),
  /** By group id, `<provider>/<name>`. */
  groups: v.record(
    v.pipe(
      v.string(),
      v.check((id) => parseGroupId(id) !== undefined, 'must be <provider>/<name>'),
    ),
    groupSettings,
  ),
});

export type GroupSettings = v.InferOutput<typeof groupSettings>;
export type GroupsFile = v.InferOutput<typeof groupsFileSchema>;
