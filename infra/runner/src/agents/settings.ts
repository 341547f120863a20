import * as v from 'valibot';
import { CI_PROVIDERS } from '../../../../shared/fleet/names.ts';
import { issuesText } from '../../../../shared/runtime/validate.ts';
import { BadConfig, withoutCredentials } from '../config.ts';

const path = v.pipe(v.string(), v.startsWith('/', 'an absolute path'));

/** A user name as useradd accepts it (useradd(8)). */
const user = v.pipe(v.string(), v.regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'must be a user name'));

/** The user of jobs by default. */
export const JOB_USER = 'runner';

const WORK_DIRECTORY = '/var/lib/hearth-agent';

/** Where the agents of a configuration keep what they and their jobs write. */
export function workDirectory(agent: Readonly<Record<string, unknown>>): string {
  return v.parse(v.fallback(path, WORK_DIRECTORY), agent.workDirectory);
}

/** The part `agent` of the configuration, for the agents of the CI providers. */
const agentSettings = v.strictObject({
  driver: v.picklist(CI_PROVIDERS),
  /** Where the image has the program: default `/opt/hearth/agents/<driver>`. */
  directory: v.optional(path),
  /** The user of jobs. It is created at boot if the image does not have it. */
  user: v.optional(user, JOB_USER),
  /** What agents and jobs write: work folders, build folders. */
  workDirectory: v.optional(path, WORK_DIRECTORY),
  /** Buildkite: the queue of the group. */
  queue: v.optional(v.pipe(v.string(), v.nonEmpty())),
  /** Buildkite: the number of commits that a clone has. Absent: all. */
  gitCloneDepth: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  /** CircleCI server: the URL of its runner API. Absent: the one of the agent. */
  apiUrl: v.optional(v.pipe(v.string(), v.url())),
  /**
   * The version to run. It is in `<directory>-<version>`: the image can have it there; else aw-runner fetches it at boot. Absent:
   * the version of the image.
   */
  program: v.optional(
    v.strictObject({
      version: v.pipe(v.string(), v.regex(/^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/, 'must be a version')),
      /** A tar archive, compressed or not, or a single program. */
      url: v.pipe(v.string(), v.url(), withoutCredentials),
      sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits')),
    }),
  ),
});

export type AgentSettings = v.InferOutput<typeof agentSettings> & { directory: string };

/** @throws {BadConfig} naming the setting */
export function parseAgentSettings(settings: unknown): AgentSettings {
  const result = v.safeParse(agentSettings, settings);
  if (!result.success) throw new BadConfig(`agent: ${issuesText(result.issues)}`);
  const { driver, queue } = result.output;
  if (driver === 'bk' && queue === undefined)
    throw new BadConfig('agent.queue: the driver bk needs the queue of the group');
  return { ...result.output, directory: result.output.directory ?? `/opt/hearth/agents/${driver}` };
}
