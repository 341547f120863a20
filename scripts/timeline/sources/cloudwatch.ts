import {
  CloudWatchLogsClient,
  paginateFilterLogEvents,
  ResourceNotFoundException,
} from '@aws-sdk/client-cloudwatch-logs';
import { groupId, INSTANCE_ID, parseAutoScalingGroupName } from '../../../shared/fleet/names.ts';
import { errorText } from '../../../shared/runtime/errors.ts';
import { SourceError, type TimelineEvent } from '../events.ts';
import { functionLines } from './function-lines.ts';
import { runnerLines } from './runner-lines.ts';

/** The functions whose lines the timeline shows. Terraform names the log group of each `<prefix>_<name>`. */
const FUNCTIONS = ['lifecycle', 'scaling', 'registration', 'warming', 'alarms'] as const;

/** Lines of runners that the timeline shows, as a filter of CloudWatch Logs: boot logs are much longer than the rest. */
const RUNNER_FILTER =
  '?"has the job" ?"its job has ended" ?"ended with" ?"draining: the instance" ?"Runner Unhealthy" ?"boot failed at"';

/** Lines of functions: all others are of the emitters of metrics and of Lambda. */
const FUNCTION_FILTER =
  '{ $.message = "record handled" || $.message = "request handled" || $.message = "backlog read" || $.message = "capacity held" || $.message = "credential not usable" }';

export type LogsOptions = {
  /** Prefix of the names of the deployment, for example `aw`. */
  prefix: string;
  /** Milliseconds since 1970. */
  from: number;
  to: number;
  /** Whether the logs of the runners are read too: only they have jobs. */
  withRunners: boolean;
  /** Called with what was read of a log group, or that it does not exist. */
  progress(line: string): void;
};

type Logs = Pick<CloudWatchLogsClient, 'send'>;

/** @param region default: that of the environment or of the profile */
export function logsClient(region: string | undefined): CloudWatchLogsClient {
  return new CloudWatchLogsClient({
    ...(region !== undefined && { region }),
    // FilterLogEvents is limited to a few calls per second and account (CloudWatch Logs quotas), and other readers share them.
    maxAttempts: 10,
    retryMode: 'adaptive',
  });
}

/**
 * The events of a deployment, out of the log lines of its functions and runners.
 *
 * @throws {SourceError} if the deployment has no log group of a function, or if a log group cannot be read
 */
export async function readLogs(logs: Logs, options: LogsOptions): Promise<TimelineEvent[]> {
  const { prefix, from, to } = options;
  const functions = functionLines();
  const runners = runnerLines();
  const events: TimelineEvent[] = [
    {
      event: 'timeline',
      version: 1,
      title: `Fleet timeline of ${prefix}`,
      source: 'CloudWatch Logs',
      from,
      to,
    },
  ];
  let missing = 0;
  for (const name of FUNCTIONS) {
    const isThere = await readGroup(
      logs,
      `${prefix}_${name}`,
      FUNCTION_FILTER,
      options,
      ({ message, timestamp }) => {
        events.push(...functions.read(message, timestamp));
      },
    );
    if (!isThere) missing += 1;
  }
  if (missing === FUNCTIONS.length) {
    throw new SourceError(
      `no log group ${prefix}_lifecycle, ${prefix}_scaling ... in this account and region: check the prefix, the region and the profile`,
    );
  }
  if (options.withRunners) {
    await readGroup(logs, `${prefix}_runners`, RUNNER_FILTER, options, ({ message, timestamp, stream }) => {
      const line = ofRunner(stream, prefix);
      if (line) events.push(...runners.read({ text: message, ...line }, timestamp));
    });
  }
  return [...events, ...functions.end(), ...runners.end()].filter((event) => isWithin(event, from, to));
}

/** A stream is `<Auto Scaling group>/<instance>/aw-runner`. The instance can write into its own streams only. */
function ofRunner(stream: string, prefix: string): { runner: string; group: string } | undefined {
  const [autoScalingGroup = '', runner = '', file] = stream.split('/');
  const group = parseAutoScalingGroupName(prefix, autoScalingGroup);
  return group && file === 'aw-runner' && INSTANCE_ID.test(runner)
    ? { runner, group: groupId(group) }
    : undefined;
}

/** Reports tell of times before them, for example of a launch; what is before the range stays unknown. */
function isWithin(event: TimelineEvent, from: number, to: number): boolean {
  return !('at' in event) || (event.at >= from && event.at <= to);
}

type LogLine = { message: string; timestamp: number; stream: string };

/** Reads every page of a log group. @returns whether the log group exists */
async function readGroup(
  client: Logs,
  logGroupName: string,
  filterPattern: string,
  { from, to, progress }: LogsOptions,
  take: (line: LogLine) => void,
): Promise<boolean> {
  let lines = 0;
  try {
    const pages = paginateFilterLogEvents(
      { client: client as CloudWatchLogsClient },
      { logGroupName, filterPattern, startTime: from, endTime: to },
    );
    for await (const { events = [] } of pages) {
      for (const { message = '', timestamp = from, logStreamName: stream = '' } of events) {
        take({ message: message.trimEnd(), timestamp, stream });
        lines += 1;
      }
    }
  } catch (error) {
    if (!(error instanceof ResourceNotFoundException)) {
      throw new SourceError(
        `${logGroupName} cannot be read: ${errorText(error)}. Check the profile, the region, and the permission logs:FilterLogEvents`,
        { cause: error },
      );
    }
    progress(`${logGroupName}: there is no such log group`);
    return false;
  }
  progress(`${logGroupName}: ${lines} lines`);
  return true;
}
