import type { AlarmEvent } from './alarm-event.ts';

/**
 * Most alarms of a series in ALARM that have an incident each. A cause that all runner groups share, such as an outage of their CI
 * provider, concerns hundreds of groups at once.
 */
export const MOST_INCIDENTS = 10;

/** The alarms of one kind, one per runner group: `aw-old-jobs-gha-default` and `aw-old-jobs-bk-large`. */
export type Series = {
  /** First part of the names of its alarms, such as `aw-old-jobs-`. */
  names: string;
  /** In place of the ARN of an alarm, for the incident of the whole series. */
  arn: string;
};

/**
 * The series of an alarm, by its name and the runner group of its metric: `<prefix>-<kind>-<provider>-<name>`
 * (`infra/modules/alarms/definitions.tf`).
 *
 * @param prefix of the deployment
 * @returns undefined for an alarm that is not one per runner group
 */
export function seriesOf(
  { name, arn, group }: Pick<AlarmEvent, 'name' | 'arn' | 'group'>,
  prefix: string,
): Series | undefined {
  if (group === undefined) return undefined;
  const end = `-${group.replace('/', '-')}`;
  const kind = name.endsWith(end) ? name.slice(prefix.length + 1, -end.length) : '';
  if (kind === '' || !arn.endsWith(`:${name}`)) return undefined;
  const names = `${prefix}-${kind}-`;
  return { names, arn: `${arn.slice(0, -name.length)}${names}*` };
}
