import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { CACHE_SCOPE } from '../../../shared/fleet/build-cache.ts';
import { CI_PROVIDERS, parseGroupId, SET_NAME } from '../../../shared/fleet/names.ts';
import { hasCredentials } from '../../../shared/runtime/redact.ts';
import { issuesText } from '../../../shared/runtime/validate.ts';
import { JOB_SOCKET } from './job-socket.ts';

/** Path of the configuration on an instance; user data writes it. */
export const CONFIG_FILE = '/etc/aw-runner/config.json';

const path = v.pipe(v.string(), v.startsWith('/', 'an absolute path'));
const seconds = (least: number, most: number) => v.pipe(v.number(), v.minValue(least), v.maxValue(most));

/** A text without tokens, and without credentials in URLs: what is here is also in user data, which jobs can read. */
export const withoutCredentials = v.check(
  (text: string) => !hasCredentials(text),
  'must have no token, and must have no credentials in a URL: use credentialCommand, or let the command read them',
);

/** Program and arguments. */
const commandLine = v.pipe(v.array(v.pipe(v.string(), withoutCredentials)), v.minLength(1));

/** A text that git does not treat as an option. */
const noOption = v.pipe(v.string(), v.regex(/^[^-]/));

/** The checkout of a set: part of the snapshot, at the place where jobs check out. */
const checkout = v.pipe(
  v.strictObject({
    directory: path,
    /** What would be in it stays in the snapshot and in the metadata of the instance. */
    repository: v.pipe(noOption, withoutCredentials),
    ref: v.optional(noOption, 'HEAD'),
    /** The number of commits; 0: the whole history. Absent: as the checkout of the CI provider has it. */
    depth: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0))),
    /** Also checks out the submodules. */
    submodules: v.optional(v.boolean(), false),
    /** A program and arguments that print credentials as git's helpers do. It runs with the rights of aw-runner. */
    credentialCommand: v.optional(commandLine),
  }),
  v.check(
    ({ credentialCommand, repository }) => credentialCommand === undefined || /^https?:\/\//.test(repository),
    'credentialCommand needs a repository with https://',
  ),
);

/** Settings of the default warming command: a Bazel workspace. */
const bazelWarming = v.strictObject({
  /** The workspace, at the same path as in jobs: Bazel derives the name of an output base from that path. */
  directory: path,
  targets: v.optional(v.pipe(v.array(v.string()), v.minLength(1)), ['//...']),
  /** Also builds. The first build elsewhere then runs no action; the snapshot grows by the bytes of all outputs. */
  build: v.optional(v.boolean(), false),
  /** `bazel`, `bazelisk` or a wrapper. */
  program: v.optional(v.string(), 'bazel'),
});

/** How an instance of a warming group creates the snapshot: by the command of the set, or by the default for Bazel. */
const warmingSettings = v.pipe(
  v.strictObject({
    /** Program and arguments, run in the warm directory, whose path is in `AW_WARM_DIR`. */
    command: v.optional(commandLine),
    bazel: v.optional(bazelWarming),
    /** Checked out before the command runs; absent if the image contains the sources, or the command fetches them. */
    checkout: v.optional(checkout),
    /** The user that the command runs as; the user of jobs if absent. Jobs change files of this user. */
    user: v.optional(v.pipe(v.string(), v.regex(/^[a-z_][a-z0-9_-]*$/))),
    /** The command is stopped after this time. */
    timeoutSeconds: v.optional(seconds(1, 86_400), 7_200),
    /** One run in this number starts with an empty tree. 0: none does. */
    rebuild: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 14),
  }),
  v.check(
    ({ command, bazel }) => (command === undefined) !== (bazel === undefined),
    'needs either command or bazel',
  ),
);

/** How the jobs of an instance are separated. */
const jobSettings = v.strictObject({
  /** `clean`: each job has a root, a tree and namespaces of its own. `shared`: jobs find what earlier ones have left. */
  isolation: v.optional(v.picklist(['clean', 'shared']), 'clean'),
  /** Whether jobs may use the role of the instance. `clean` closes the metadata service to them otherwise. */
  useInstanceRole: v.optional(v.boolean(), false),
  /** Mounts of the instance that every job sees. They are never cleaned. */
  sharedMounts: v.optional(v.array(path), []),
  /** Whether a job has a Docker daemon of its own, where the image has Docker. */
  docker: v.optional(v.boolean(), true),
});

/** The build cache of a group. Its role has the same rights. */
const cacheSettings = v.strictObject({
  mode: v.picklist(['read', 'write']),
  /** The scope that the group reads first, and the only one that it writes. */
  scope: v.pipe(v.string(), v.regex(CACHE_SCOPE)),
  /** Further scopes that it reads, in this order. */
  reads: v.optional(v.array(v.pipe(v.string(), v.regex(CACHE_SCOPE))), []),
  /** Share of the disk of images that the cache takes, in percent. */
  diskPercent: v.optional(v.pipe(v.number(), v.minValue(1), v.maxValue(50)), 10),
  /** On the loopback; below the range of ports that the kernel gives to clients. */
  port: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)), 24_181),
});

/**
 * `/etc/aw-runner/config.json`. Terraform's user data writes it.
 *
 * @param drivers the accepted names of agent drivers. The driver itself validates its settings.
 */
const configSchema = (drivers: readonly string[]) =>
  v.strictObject({
    version: v.literal(1),
    region: v.string(),
    /** The snapshot bucket. */
    bucket: v.string(),
    /** URL of the queue that runners report to. */
    reportsUrl: v.pipe(v.string(), v.url()),
    /** `<provider>/<name>`. */
    group: v.pipe(
      v.string(),
      v.check((id) => parseGroupId(id) !== undefined, 'must be <provider>/<name>'),
    ),
    autoScalingGroup: v.string(),
    /** The set to restore; without it every boot is cold. */
    warmingSet: v.optional(v.pipe(v.string(), v.regex(SET_NAME))),
    /** `auto`: clean jobs start before the image is complete, where the rest of it would take longer than three seconds. */
    lazy: v.optional(v.picklist(['never', 'auto']), 'never'),
    warming: v.optional(v.union([v.literal(false), warmingSettings]), false),
    /** The instance metadata service. */
    metadataEndpoint: v.optional(v.pipe(v.string(), v.url()), 'http://169.254.169.254'),
    directories: v.strictObject({
      images: path,
      warm: path,
      state: path,
      /** Directories of the warming set beside the warm one (`directories.ts` checks them). */
      paths: v.optional(v.array(path), []),
    }),
    jobs: v.optional(jobSettings, {}),
    /** Absent: the group has no build cache. */
    cache: v.optional(cacheSettings),
    /** The socket through which jobs reach aw-runner. */
    jobSocket: v.optional(path, JOB_SOCKET),
    /** Longest time of a boot until Runner Ready or Runner Failed. */
    bootTimeoutSeconds: v.optional(seconds(10, 7_200), 900),
    /**
     * Heartbeats of a drain stop after this time, and Auto Scaling terminates the instance with a job that still runs. Absent: a
     * drain has no limit but that of Auto Scaling, 48 hours.
     */
    drainTimeoutSeconds: v.optional(seconds(10, 172_800)),
    idleTimeoutMinutes: v.optional(v.pipe(v.number(), v.minValue(0.01), v.maxValue(720)), 30),
    /** Time between two heartbeats. */
    heartbeatSeconds: v.optional(seconds(0.5, 3_600), 60),
    /** Time between two observations of the metadata, the agent and the disks. */
    pollSeconds: v.optional(seconds(0.1, 60), 5),
    /** URL of the function `registration`. Absent in groups whose instances run no agent: warming groups. */
    registrationUrl: v.optional(v.pipe(v.string(), v.url())),
    /** `driver` is the CI provider; `agents/settings.ts` has the rest. */
    agent: v.looseObject({ driver: v.picklist(drivers) }),
  });

/** @throws {BadConfig} */
export function parseBazelWarming(settings: unknown): BazelWarming {
  const result = v.safeParse(bazelWarming, settings);
  if (!result.success) throw new BadConfig(issuesText(result.issues));
  return result.output;
}

/** @throws {BadConfig} */
export function parseCheckout(settings: unknown): Checkout {
  const result = v.safeParse(checkout, settings);
  if (!result.success) throw new BadConfig(issuesText(result.issues));
  return result.output;
}

export type RunnerConfig = v.InferOutput<ReturnType<typeof configSchema>>;
export type WarmingSettings = v.InferOutput<typeof warmingSettings>;
export type BazelWarming = v.InferOutput<typeof bazelWarming>;
export type Checkout = v.InferOutput<typeof checkout>;

/** The configuration is missing or wrong. */
export class BadConfig extends Error {
  override readonly name = 'BadConfig';
}

/** @throws {BadConfig} naming the file and the first few problems */
export async function readConfig(file: string, drivers?: readonly string[]): Promise<RunnerConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new BadConfig(`${file} cannot be read: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  return parseConfig(text, file, drivers);
}

/** @throws {BadConfig} */
export function parseConfig(
  text: string,
  file: string,
  drivers: readonly string[] = CI_PROVIDERS,
): RunnerConfig {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), configSchema(drivers)), text);
  if (!result.success) throw new BadConfig(`${file}: ${issuesText(result.issues)}`);
  return result.output;
}
