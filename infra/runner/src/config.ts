import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { simulatedSettings } from '../../../scripts/local/runners/simulated-driver.ts';
import { CI_PROVIDERS, parseGroupId, SET_NAME } from '../../../shared/fleet/names.ts';
import { issuesText } from '../../../shared/runtime/validate.ts';

/** Where user data writes it on an instance. */
export const CONFIG_FILE = '/etc/aw-runner/config.json';

const path = v.pipe(v.string(), v.startsWith('/', 'an absolute path'));
const seconds = (least: number, most: number) => v.pipe(v.number(), v.minValue(least), v.maxValue(most));

/** What the default warming command works on: a Bazel workspace. */
const bazelWarming = v.strictObject({
  /** The workspace; it has to be where jobs have theirs, since Bazel names an output base by that path. */
  directory: path,
  /** Checked out there first; absent if the image or something else brings it. */
  git: v.optional(
    v.strictObject({
      // No option, whatever the text: git would take one.
      url: v.pipe(v.string(), v.regex(/^[^-]/)),
      ref: v.optional(v.pipe(v.string(), v.regex(/^[^-]/)), 'HEAD'),
    }),
  ),
  targets: v.optional(v.pipe(v.array(v.string()), v.minLength(1)), ['//...']),
  /** Also build, so that the first build elsewhere has no action to run; costs the time and the bytes of all outputs. */
  build: v.optional(v.boolean(), false),
  /** `bazel`, `bazelisk` or a wrapper. */
  program: v.optional(v.string(), 'bazel'),
});

/** How a machine of a warming group makes the snapshot: by a command of the set's own, or by the default for Bazel. */
const warmingSettings = v.pipe(
  v.strictObject({
    /** Program and arguments, run in the warm directory, whose path is in `AW_WARM_DIR`. */
    command: v.optional(v.pipe(v.array(v.string()), v.minLength(1))),
    bazel: v.optional(bazelWarming),
    /** Whose rights the command has; root's if absent. Files that jobs change have to be theirs. */
    user: v.optional(v.pipe(v.string(), v.regex(/^[a-z_][a-z0-9_-]*$/))),
    /** The command is ended after so many seconds. */
    timeoutSeconds: v.optional(seconds(1, 86_400), 7_200),
  }),
  v.check(
    ({ command, bazel }) => (command === undefined) !== (bazel === undefined),
    'needs either command or bazel',
  ),
);

/**
 * What Terraform says about the agents of real hosts. It is accepted here, because a warming group needs no agent; where one
 * is needed, the boot fails and says so (see `missing-host.ts`).
 */
const agentSettings = v.looseObject({ driver: v.picklist(CI_PROVIDERS) });

/** `/etc/aw-runner/config.json`: all that a runner has to be told. Terraform's user data writes it. */
const configSchema = v.strictObject({
  version: v.literal(1),
  region: v.string(),
  /** The snapshot bucket. */
  bucket: v.string(),
  /** URL of the queue that runners report to. */
  reportsUrl: v.pipe(v.string(), v.url()),
  /** `<host>/<name>`. */
  group: v.pipe(
    v.string(),
    v.check((id) => parseGroupId(id) !== undefined, 'must be <host>/<name>'),
  ),
  autoScalingGroup: v.string(),
  /** The set to restore; without one every boot is cold. */
  warmingSet: v.optional(v.pipe(v.string(), v.regex(SET_NAME))),
  warming: v.optional(v.union([v.literal(false), warmingSettings]), false),
  /** The instance metadata service. */
  metadataEndpoint: v.optional(v.pipe(v.string(), v.url()), 'http://169.254.169.254'),
  directories: v.strictObject({ layers: path, warm: path, state: path }),
  /** A boot ends as Ready or Failed within this time. */
  bootTimeoutSeconds: v.optional(seconds(10, 7_200), 900),
  /** Heartbeats of a drain end after this time: then Auto Scaling lets the machine go, with whatever runs on it. */
  drainTimeoutSeconds: v.optional(seconds(10, 172_800), 21_600),
  idleTimeoutMinutes: v.optional(v.pipe(v.number(), v.minValue(0.01), v.maxValue(720)), 30),
  /** Between two heartbeats. */
  heartbeatSeconds: v.optional(seconds(0.5, 3_600), 60),
  /** Between two looks at the metadata and the agent. */
  pollSeconds: v.optional(seconds(0.1, 60), 5),
  agent: v.variant('driver', [simulatedSettings, agentSettings]),
});

/** @throws {BadConfig} */
export function parseBazelWarming(settings: unknown): BazelWarming {
  const result = v.safeParse(bazelWarming, settings);
  if (!result.success) throw new BadConfig(issuesText(result.issues));
  return result.output;
}

export type RunnerConfig = v.InferOutput<typeof configSchema>;
export type WarmingSettings = v.InferOutput<typeof warmingSettings>;
export type BazelWarming = v.InferOutput<typeof bazelWarming>;

/** The configuration is missing or wrong. */
export class BadConfig extends Error {
  override readonly name = 'BadConfig';
}

/** @throws {BadConfig} naming the file and the first few problems */
export async function readConfig(file: string): Promise<RunnerConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new BadConfig(`${file} cannot be read: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  return parseConfig(text, file);
}

/** @throws {BadConfig} */
export function parseConfig(text: string, file: string): RunnerConfig {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), configSchema), text);
  if (!result.success) throw new BadConfig(`${file}: ${issuesText(result.issues)}`);
  return result.output;
}
