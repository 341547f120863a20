import type { Activity, ActivityStatus, Group, World } from './model.ts';

/** Activities that a group keeps; AWS keeps six weeks of them, a day's run needs far fewer. */
const KEPT = 1000;

/** Opens an activity: something the group does because of `group.cause`. */
export function beginActivity(
  world: World,
  group: Group,
  what: { description: string; cause: string; status: ActivityStatus; zone: string; subnet: string },
): Activity {
  const activity: Activity = {
    ...what,
    id: world.newId(),
    group: group.name,
    startTime: world.now,
    endTime: undefined,
    statusMessage: '',
  };
  group.activities.unshift(activity);
  group.activities.length = Math.min(group.activities.length, KEPT);
  return activity;
}

export function endActivity(
  world: World,
  activity: Activity,
  status: 'Successful' | 'Failed' | 'Cancelled',
  message = '',
): void {
  if (activity.endTime !== undefined) return;
  activity.status = status;
  activity.endTime = world.now;
  if (message === '') return;
  activity.statusMessage = message;
  activity.description += `.  Status Reason: ${message}`;
}

/** `2024-05-14T16:20:11Z`, as the texts of causes have it. */
export function stamp(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}
