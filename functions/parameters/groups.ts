import { type AutoScalingClient, DescribeAutoScalingGroupsCommand } from '@aws-sdk/client-auto-scaling';
import { parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import type { GroupCapacity, GroupsPort } from './ports.ts';

/** Auto Scaling's limit for groups a page. */
const PAGE = 100;

/** The groups that are named after the deployment's prefix. */
export function autoScalingGroups(client: Pick<AutoScalingClient, 'send'>, prefix: string): GroupsPort {
  return {
    async list() {
      const groups: GroupCapacity[] = [];
      let token: string | undefined;
      do {
        const page = await client.send(
          new DescribeAutoScalingGroupsCommand({
            MaxRecords: PAGE,
            ...(token !== undefined && { NextToken: token }),
          }),
        );
        for (const group of page.AutoScalingGroups ?? []) {
          const name = group.AutoScalingGroupName ?? '';
          if (!parseAutoScalingGroupName(prefix, name)) continue;
          const states = (group.Instances ?? []).map((instance) => instance.LifecycleState ?? '');
          groups.push({
            name,
            min: group.MinSize ?? 0,
            max: group.MaxSize ?? 0,
            desired: group.DesiredCapacity ?? 0,
            inService: states.filter((state) => state === 'InService').length,
            draining: states.filter((state) => state.startsWith('Terminating')).length,
          });
        }
        token = page.NextToken;
      } while (token);
      return groups;
    },
  };
}
