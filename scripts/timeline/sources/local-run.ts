import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { CI_PROVIDERS, groupId, parseAutoScalingGroupName } from '../../../shared/fleet/names.ts';
import { parseRegistrationName } from '../../../shared/fleet/registration.ts';
import type { Cloud } from '../../local/cloud.ts';
import { targetOf } from '../../local/deploy/settings.ts';
import { jsonLines, SourceError, type TimelineEvent } from '../events.ts';
import { functionLines } from './function-lines.ts';
import { runnerLines } from './runner-lines.ts';

/**
 * The recording of a run of the local cloud: what its gateway, its functions and runners, Auto Scaling, the CI providers and PagerDuty
 * have recorded, one JSON object per line. It has no command, no output and no environment of a job.
 */
const itemSchema = v.variant('kind', [
  v.object({
    kind: v.literal('run'),
    version: v.literal(1),
    title: v.string(),
    startedAt: v.number(),
    endedAt: v.number(),
    prefix: v.string(),
    groups: v.array(
      v.object({ id: v.string(), min: v.number(), purchase: v.optional(v.picklist(['spot', 'on-demand'])) }),
    ),
  }),
  /** A call that changes the desired capacity of a group. */
  v.object({
    kind: v.literal('call'),
    at: v.number(),
    operation: v.string(),
    parameters: v.record(v.string(), v.string()),
  }),
  v.object({ kind: v.literal('function-line'), at: v.number(), text: v.string() }),
  v.object({
    kind: v.literal('runner-line'),
    at: v.number(),
    runner: v.string(),
    group: v.string(),
    text: v.string(),
  }),
  /** A scaling activity, as `DescribeScalingActivities` has it. */
  v.object({
    kind: v.literal('activity'),
    autoScalingGroup: v.string(),
    description: v.string(),
    cause: v.string(),
    status: v.string(),
    statusMessage: v.string(),
    zone: v.string(),
    startedAt: v.number(),
    endedAt: v.optional(v.number()),
  }),
  v.object({
    kind: v.literal('job'),
    id: v.string(),
    name: v.string(),
    group: v.optional(v.string()),
    agent: v.optional(v.string()),
    queuedAt: v.number(),
    startedAt: v.optional(v.number()),
    finishedAt: v.optional(v.number()),
    result: v.optional(v.string()),
    starts: v.number(),
  }),
  v.object({
    kind: v.literal('incident'),
    id: v.string(),
    severity: v.picklist(['critical', 'error', 'warning', 'info']),
    summary: v.string(),
    openedAt: v.number(),
    resolvedAt: v.optional(v.number()),
  }),
]);
type Item = v.InferOutput<typeof itemSchema>;
type ItemOf<Kind extends Item['kind']> = Extract<Item, { kind: Kind }>;

const CAPACITY_CALLS = ['SetDesiredCapacity', 'TerminateInstanceInAutoScalingGroup'];

/**
 * Writes the recording of a cloud so far.
 *
 * @param file its folder is made if it does not exist
 * @param title what the run is, for the heading of the page
 */
export async function writeRecording(
  file: string,
  cloud: Cloud,
  title: string,
  startedAt: Date,
): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, '');
  let lines: string[] = [];
  for (const item of itemsOf(cloud, title, startedAt)) {
    lines.push(JSON.stringify(item));
    if (lines.length < 5_000) continue;
    await appendFile(file, `${lines.join('\n')}\n`);
    lines = [];
  }
  if (lines.length > 0) await appendFile(file, `${lines.join('\n')}\n`);
}

function* itemsOf(cloud: Cloud, title: string, startedAt: Date): Generator<Item> {
  const { deployment, gateway, runners, providers, autoScaling, pagerDuty } = cloud;
  yield {
    kind: 'run',
    version: 1,
    title,
    startedAt: startedAt.getTime(),
    endedAt: Date.now(),
    prefix: deployment.prefix,
    groups: deployment.groups.map((group) => ({
      id: groupId(group),
      min: group.min,
      ...(group.purchase && { purchase: group.purchase }),
    })),
  };
  for (const { at, operation, status, parameters } of gateway.calls.all) {
    if (status !== 200 || !CAPACITY_CALLS.includes(operation)) continue;
    yield { kind: 'call', at: at.getTime(), operation, parameters };
  }
  for (const { at, text } of gateway.functions.lines.all) {
    // Embedded metrics and the lines of the emulator show nothing here.
    if (text.startsWith('{') && !text.includes('"_aws"'))
      yield { kind: 'function-line', at: at.getTime(), text };
  }
  for (const { at, instanceId, group, text } of runners.lines.all) {
    yield { kind: 'runner-line', at: at.getTime(), runner: instanceId, group, text };
  }
  for (const group of autoScaling.groups()) {
    for (const { description, cause, status, statusMessage, zone, startTime, endTime } of group.activities) {
      yield {
        kind: 'activity',
        autoScalingGroup: group.name,
        description,
        cause,
        status,
        statusMessage,
        zone,
        startedAt: startTime,
        ...(endTime !== undefined && { endedAt: endTime }),
      };
    }
  }
  for (const provider of CI_PROVIDERS) {
    for (const job of providers.jobs(provider)) {
      const { id, name, agent, queuedAt, startedAt, finishedAt, result, starts, target } = job;
      const group = deployment.groups.find(
        (one) => one.provider === provider && target.some((each) => each.split('=').at(-1) === targetOf(one)),
      );
      yield {
        kind: 'job',
        id: `${provider} ${id}`,
        name,
        ...(group && { group: groupId(group) }),
        ...(agent !== undefined && { agent }),
        queuedAt,
        ...(startedAt !== undefined && { startedAt }),
        ...(finishedAt !== undefined && { finishedAt }),
        ...(result !== undefined && { result }),
        starts,
      };
    }
  }
  for (const { number, severity, summary, openedAt, resolvedAt } of pagerDuty.incidents()) {
    yield {
      kind: 'incident',
      id: String(number),
      severity,
      summary,
      openedAt: openedAt.getTime(),
      ...(resolvedAt && { resolvedAt: resolvedAt.getTime() }),
    };
  }
}

/** Whether the first line of a source is that of a recording. */
export function isRecording(first: unknown): boolean {
  return typeof first === 'object' && first !== null && 'kind' in first && first.kind === 'run';
}

/**
 * The events of a recording.
 *
 * @throws {SourceError} if a line is no item of a recording
 */
export async function readRecording(file: string): Promise<TimelineEvent[]> {
  const items: Item[] = [];
  for await (const { value, place } of jsonLines(file)) {
    const parsed = v.safeParse(itemSchema, value);
    if (!parsed.success) {
      const [issue] = parsed.issues;
      throw new SourceError(
        `${place} is no item of a recording: ${v.getDotPath(issue) ?? 'kind'}: ${issue.message}`,
      );
    }
    items.push(parsed.output);
  }
  return recordingEvents(items);
}

function recordingEvents(items: readonly Item[]): TimelineEvent[] {
  const of = <Kind extends Item['kind']>(kind: Kind) =>
    items.filter((item): item is ItemOf<Kind> => item.kind === kind);
  const [run] = of('run');
  if (!run) throw new SourceError('the recording has no line of the kind run: it is not complete');
  const activities = of('activity').flatMap((activity) => activityEvents(activity, run));
  const groupOf = new Map(
    activities.flatMap((event) => (event.event === 'launch' ? [[event.runner, event.group] as const] : [])),
  );
  const functions = functionLines();
  const runners = runnerLines();
  const lines = [
    ...of('function-line').flatMap(({ text, at }) => functions.read(text, at)),
    ...of('runner-line').flatMap((line) => runners.read(line, line.at)),
  ];
  return [
    {
      event: 'timeline',
      version: 1,
      title: run.title,
      source: 'recording of a local run',
      from: run.startedAt,
      to: run.endedAt,
    },
    ...activities,
    ...capacityEvents(of('call'), run, groupOf),
    ...lines.filter((event) => !isKnownBetter(event)),
    ...of('job').map((job) => jobEvent(job)),
    ...of('incident').map(({ kind: _, ...incident }): TimelineEvent => ({ event: 'incident', ...incident })),
  ];
}

/** What the emulated services have in more detail than the logs. */
function isKnownBetter(event: TimelineEvent): boolean {
  if (event.event === 'note') return event.text.startsWith('launch failed');
  return ['capacity', 'backlog', 'incident', 'job'].includes(event.event);
}

function activityEvents(activity: ItemOf<'activity'>, run: ItemOf<'run'>): TimelineEvent[] {
  const { description, cause, status, statusMessage, zone, startedAt, endedAt } = activity;
  const parsed = parseAutoScalingGroupName(run.prefix, activity.autoScalingGroup);
  if (!parsed) return [];
  const group = groupId(parsed);
  const purchase = run.groups.find(({ id }) => id === group)?.purchase;
  const launched = /^Launching a new EC2 instance: (i-[0-9a-f]+)/.exec(description)?.[1];
  if (launched !== undefined) {
    const events: TimelineEvent[] = [
      { event: 'launch', at: startedAt, runner: launched, group, zone, ...(purchase && { purchase }) },
    ];
    if (endedAt !== undefined && status === 'Successful')
      events.push({ event: 'in-service', at: endedAt, runner: launched, group });
    if (status === 'Failed' && endedAt !== undefined)
      events.push({
        event: 'note',
        at: endedAt,
        level: 'error',
        text: `launch failed: ${statusMessage}`,
        runner: launched,
        group,
      });
    return events;
  }
  const terminated = /^Terminating EC2 instance: (i-[0-9a-f]+)/.exec(description)?.[1];
  if (terminated !== undefined) {
    return [
      { event: 'drain', at: startedAt, runner: terminated, group, ...whyOf(cause) },
      ...(endedAt === undefined ? [] : [{ event: 'end', at: endedAt, runner: terminated, group } as const]),
    ];
  }
  if (status !== 'Failed') return [];
  return [
    {
      event: 'note',
      at: endedAt ?? startedAt,
      level: 'warning',
      text: statusMessage ? `launch failed: ${statusMessage}` : description,
      group,
    },
  ];
}

/** The reason within the cause of a termination, in the wording of Auto Scaling. A call that terminates has its reason elsewhere. */
function whyOf(cause: string): { why?: string } {
  const reason = /in response to (.*?)(?:, shrinking|\. |\.$|$)/.exec(cause)?.[1];
  if (reason === undefined || reason === 'a user request') return {};
  return { why: reason.startsWith('a difference between desired and actual') ? 'scale-in' : reason };
}

/** The desired capacity, by the calls that set it and by the terminations that lower it. */
function capacityEvents(
  calls: readonly ItemOf<'call'>[],
  run: ItemOf<'run'>,
  groupOf: ReadonlyMap<string, string>,
): TimelineEvent[] {
  const desired = new Map(run.groups.map(({ id, min }) => [id, min]));
  const events = run.groups.map(
    ({ id, min }): TimelineEvent => ({ event: 'capacity', at: run.startedAt, group: id, desired: min }),
  );
  for (const { at, operation, parameters } of [...calls].sort((a, b) => a.at - b.at)) {
    const parsed = parseAutoScalingGroupName(run.prefix, parameters.AutoScalingGroupName ?? '');
    const isSet = operation === 'SetDesiredCapacity';
    const group = isSet ? parsed && groupId(parsed) : groupOf.get(parameters.InstanceId ?? '');
    if (group === undefined) continue;
    const before = desired.get(group) ?? 0;
    const isLowered = parameters.ShouldDecrementDesiredCapacity === 'true';
    const now = isSet ? Number(parameters.DesiredCapacity) : isLowered ? Math.max(0, before - 1) : before;
    if (!Number.isInteger(now) || now === before) continue;
    desired.set(group, now);
    events.push({ event: 'capacity', at, group, desired: now });
  }
  return events;
}

/** What the stand-ins call the ends of jobs, in the words of the model. */
const RESULTS: Readonly<Record<string, 'succeeded' | 'failed' | 'cancelled' | 'killed'>> = {
  succeeded: 'succeeded',
  failed: 'failed',
  cancelled: 'cancelled',
  lost: 'killed',
};

function jobEvent({
  id,
  name,
  group,
  agent,
  queuedAt,
  startedAt,
  finishedAt,
  result,
  starts,
}: ItemOf<'job'>): TimelineEvent {
  const runner = agent === undefined ? undefined : parseRegistrationName(agent)?.instanceId;
  // A job that was started twice was killed once, whatever its second start became.
  const known = starts > 1 ? 'killed' : result === undefined ? undefined : RESULTS[result];
  return {
    event: 'job',
    id,
    name,
    ...(group !== undefined && { group }),
    ...(runner !== undefined && { runner }),
    queuedAt,
    ...(startedAt !== undefined && { startedAt }),
    ...(finishedAt !== undefined && { finishedAt }),
    ...(known && { result: known }),
  };
}
