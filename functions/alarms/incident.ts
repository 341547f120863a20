import { createHash } from 'node:crypto';
import type { Alarm } from './alarm.ts';
import type { Labels, Severity } from './labels.ts';
import type { Series } from './series.ts';

/** Limits of PagerDuty's Events API v2, in characters. */
const MAX_DEDUP_KEY = 255;
const MAX_SUMMARY = 1024;

/** Most characters of a detail: an incident stays far below the 512 KB of PagerDuty. */
const MAX_DETAIL = 4096;

/** An event of PagerDuty without its routing key, which the adapter adds last, after all logging. */
export type IncidentEvent = { event_action: 'resolve'; dedup_key: string } | Trigger;

type Trigger = {
  event_action: 'trigger';
  dedup_key: string;
  client: string;
  client_url?: string;
  links: { href: string; text: string }[];
  payload: {
    summary: string;
    source: string;
    severity: Severity;
    timestamp?: string;
    component?: string;
    group?: string;
    class?: string;
    custom_details: Record<string, string>;
  };
};

/** The dedup key of an alarm: its ARN, or the hash of an ARN that is too long. One alarm has one incident. */
export function dedupKey(arn: string): string {
  return arn.length <= MAX_DEDUP_KEY ? arn : createHash('sha256').update(arn).digest('hex');
}

export function resolveEvent(arn: string): IncidentEvent {
  return { event_action: 'resolve', dedup_key: dedupKey(arn) };
}

export function triggerEvent(alarm: Alarm, labels: Labels): Trigger {
  const { partition, region, account } = placeOf(alarm.arn);
  const console = consoleUrl(partition, region, alarm.name);
  return {
    event_action: 'trigger',
    dedup_key: dedupKey(alarm.arn),
    client: 'Hearth',
    ...(console !== undefined && { client_url: console }),
    links: [
      ...(labels.runbook ? [{ href: labels.runbook, text: 'Runbook' }] : []),
      ...(console !== undefined ? [{ href: console, text: 'Alarm in CloudWatch' }] : []),
    ],
    payload: {
      summary: cut(alarm.reason ? `${alarm.name}: ${alarm.reason}` : alarm.name, MAX_SUMMARY),
      source: cut(alarm.arn, MAX_SUMMARY),
      severity: labels.severity,
      ...(alarm.since && { timestamp: alarm.since.toISOString() }),
      ...(labels.group && {
        group: cut(labels.group, MAX_SUMMARY),
        component: cut(labels.group, MAX_SUMMARY),
      }),
      ...(alarm.metric && { class: cut(alarm.metric, MAX_SUMMARY) }),
      custom_details: {
        description: cut(alarm.description, MAX_DETAIL),
        reason: cut(alarm.reason, MAX_DETAIL),
        dimensions: cut(JSON.stringify(alarm.dimensions), MAX_DETAIL),
        account,
        region,
      },
    },
  };
}

/**
 * The one incident of many alarms of a series.
 *
 * @param alarm one of them, for the reason and the link
 * @param names alarms of the series that are in ALARM
 */
export function seriesEvent(
  series: Series,
  alarm: Alarm,
  names: readonly string[],
  labels: Labels,
): IncidentEvent {
  const { payload, ...event } = triggerEvent(alarm, { ...labels, group: undefined });
  const { dimensions: _, ...details } = payload.custom_details;
  const summary = `At least ${names.length} alarms ${series.names}* are in ALARM, among them ${alarm.name}: ${alarm.reason}`;
  return {
    ...event,
    dedup_key: dedupKey(series.arn),
    payload: {
      ...payload,
      summary: cut(summary, MAX_SUMMARY),
      source: cut(series.arn, MAX_SUMMARY),
      custom_details: { ...details, alarms: cut(names.join(', '), MAX_DETAIL) },
    },
  };
}

/** At most `max` characters, without half of a surrogate pair at the end. */
function cut(value: string, max: number): string {
  if (value.length <= max) return value;
  return `${value.slice(0, max - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

function placeOf(arn: string): { partition: string; region: string; account: string } {
  const [, partition = '', , region = '', account = ''] = arn.split(':');
  return { partition, region, account };
}

/**
 * Host of the console per partition (AWS General Reference). The consoles of the isolated partitions are not public, so their
 * incidents have no link.
 */
const CONSOLES: Readonly<Record<string, string>> = {
  aws: 'console.aws.amazon.com',
  'aws-eusc': 'console.amazonaws-eusc.eu',
  'aws-cn': 'console.amazonaws.cn',
  'aws-us-gov': 'console.amazonaws-us-gov.com',
};

function consoleUrl(partition: string, region: string, name: string): string | undefined {
  const host = CONSOLES[partition];
  if (host === undefined) return undefined;
  return `https://${host}/cloudwatch/home?region=${region}#alarmsV2:alarm/${encodeURIComponent(name)}`;
}
