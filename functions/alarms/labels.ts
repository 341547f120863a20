import * as v from 'valibot';
import type { Alarm } from './alarm.ts';

/** PagerDuty's severities. */
export const SEVERITIES = ['critical', 'error', 'warning', 'info'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Begin of the keys of the tags of an alarm that pages. */
const TAG_PREFIX = 'hearth:';

/**
 * Whether an alarm belongs to the deployment: its name begins with the prefix, and it has a tag `hearth:…`. Every alarm of the module has
 * one. Whoever may create alarms can choose names and descriptions; a tag needs a permission of its own.
 */
export function isTagged(tags: Readonly<Record<string, string>>): boolean {
  return Object.keys(tags).some((key) => key.startsWith(TAG_PREFIX));
}

/** Severity of an alarm without a label. */
const DEFAULT_SEVERITY: Severity = 'error';

/** How an alarm pages, from its tags or its description. */
export type Labels = {
  severity: Severity;
  runbook: string | undefined;
  /** Name of a route in the routing secret. */
  route: string | undefined;
  /** Its runner group, as `<provider>/<name>`. */
  group: string | undefined;
};

/**
 * Tags take precedence (`hearth:severity`, `hearth:runbook`, `hearth:route`, `hearth:group`) over lines of the description such
 * as `runbook: https://…`. An invalid value counts as absent: a typo in a tag must not stop a page. An alarm on a metric of a
 * runner group has its group in the dimension of the metric.
 */
export function readLabels(alarm: Alarm, tags: Readonly<Record<string, string>>): Labels {
  const label = (key: string) => tags[`${TAG_PREFIX}${key}`] ?? lineOf(alarm.description, key);
  const severity = label('severity')?.toLowerCase();
  return {
    severity: SEVERITIES.find((known) => known === severity) ?? DEFAULT_SEVERITY,
    runbook: httpsUrl(label('runbook')),
    route: label('route') || undefined,
    group: label('group') || alarm.dimensions.Group || undefined,
  };
}

function lineOf(description: string, key: string): string | undefined {
  return new RegExp(`^\\s*${key}\\s*:\\s*(\\S+)\\s*$`, 'im').exec(description)?.[1];
}

function httpsUrl(value: string | undefined): string | undefined {
  return value && v.is(v.pipe(v.string(), v.url(), v.startsWith('https://')), value) ? value : undefined;
}
