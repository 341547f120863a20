import { CreateScheduleCommand, type SchedulerClient } from '@aws-sdk/client-scheduler';
import type { MadeSchedule } from './subscriptions.ts';

/**
 * Makes a schedule fire now: a one-time schedule with the same target and input, which the Scheduler deletes after it
 * has fired.
 *
 * @param name of one of `schedules`
 * @throws if there is none of that name
 */
export async function fireSchedule(
  scheduler: SchedulerClient,
  schedules: readonly MadeSchedule[],
  name: string,
): Promise<void> {
  const schedule = schedules.find((one) => one.name === name);
  if (!schedule) {
    throw new Error(`no schedule ${name}; there are ${schedules.map((one) => one.name).join(', ')}`);
  }
  const now = new Date();
  await scheduler.send(
    new CreateScheduleCommand({
      Name: `${name}-${now.getTime()}`,
      ScheduleExpression: `at(${now.toISOString().slice(0, 19)})`,
      ActionAfterCompletion: 'DELETE',
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: {
        Arn: schedule.targetArn,
        RoleArn: schedule.roleArn,
        Input: schedule.input,
      },
    }),
  );
}
