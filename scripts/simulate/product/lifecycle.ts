import { groupRoles } from '../../../functions/lifecycle/group-roles.ts';
import {
  handleLifecycleMessage,
  type LifecycleDeps,
  RETRY_FOR_MS,
} from '../../../functions/lifecycle/handle.ts';
import { reportLimits } from '../../../functions/lifecycle/report-limits.ts';
import type { Report } from '../../../shared/fleet/report.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import { PREFIX } from '../world.ts';
import { activeGroups, type Deployment } from './functions.ts';

export { RETRY_FOR_MS };

export const REPORTS_QUEUE = 'aw-reports';

/** Execution environments of the function (`functions/lifecycle/function.json`). */
const CONCURRENCY = 10;

/** The function `lifecycle`. What it publishes goes to `publish`. */
export function lifecycleFunction(deployment: Deployment, publish: (report: Report) => void) {
  const { autoScaling, bucket, metrics, clock, random } = deployment;
  const logger = {
    warn: (line: string, fields?: object) => deployment.log(`lifecycle: ${line} ${JSON.stringify(fields)}`),
  };

  const active = activeGroups(deployment);

  function connect(): LifecycleDeps {
    const port: LifecycleDeps['autoScaling'] = {
      complete: async (action, result) => autoScaling.complete(action, result),
      heartbeat: async (action) => autoScaling.heartbeat(action),
      describeInstance: async (id) => autoScaling.describeInstance(id),
      describeGroup: async (name) => autoScaling.describeGroup(name),
      listGroups: async () => autoScaling.listGroups(),
      terminate: async (id, decrement) => autoScaling.terminate(id, decrement),
    };
    return {
      prefix: PREFIX,
      reportsQueue: REPORTS_QUEUE,
      autoScaling: port,
      roles: groupRoles(port, clock),
      limits: reportLimits({ reportsQueue: REPORTS_QUEUE, clock, logger, metrics }),
      events: {
        publish: async (report) => publish(report),
      },
      groups: { ...deployment.groups, all: async () => active() },
      store: bucket,
      metrics,
      logger,
      clock,
    };
  }

  let environments = Array.from({ length: CONCURRENCY }, connect);
  return {
    handle: (message: Message) =>
      handleLifecycleMessage(message, environments[random.integer(0, CONCURRENCY - 1)] as LifecycleDeps),
    restart: () => {
      environments = Array.from({ length: CONCURRENCY }, connect);
    },
  };
}
