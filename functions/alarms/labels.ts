import * as v from 'valibot';
import type { Alarm } from './alarm-source.ts';

/** PagerDuty's severities. */
export const SEVERITIES = ['critical', 'error', 'warning', 'info'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** An alarm that says nothing about itself pages, but not as loudly as one that asks for it. */
const DEFAULT_SEVERITY: Severity = 'error';

/** What an alarm's tags or description say about how to page for it. */
export type Labels = {
  severity: Severity;
  runbook: string | undefined;
  /** Name of a route in the routing secret. */
  route: string | undefined;
  /** The runner group it is about, as `<host>/<name>`. */
  group: string | undefined;
};

/**
 * Tags win (`hearth:severity`, `hearth:runbook`, `hearth:route`, `hearth:group`); then lines of the description such as
 * `runbook: https://…`. Anything that is not what it should be counts as not said: a typo in a tag must not stop
 * a page. An alarm on a metric of a runner group needs not say which: its dimension does.
 */
export function readLabels(alarm: Alarm, tags: Readonly<Record<string, string>>): Labels {
  const said = (key: string) => tags[`hearth:${key}`] ?? lineOf(alarm.description, key);
  const severity = said('severity')?.toLowerCase();
  return {
    severity: SEVERITIES.find((known) => known === severity) ?? DEFAULT_SEVERITY,
    runbook: httpsUrl(said('runbook')),
    route: said('route') || undefined,
    group: said('group') || alarm.dimensions.Group || undefined,
  };
}

function lineOf(description: string, key: string): string | undefined {
  return new RegExp(`^\\s*${key}\\s*:\\s*(\\S+)\\s*$`, 'im').exec(description)?.[1];
}

function httpsUrl(value: string | undefined): string | undefined {
  return value && v.is(v.pipe(v.string(), v.url(), v.startsWith('https://')), value) ? value : undefined;
}
