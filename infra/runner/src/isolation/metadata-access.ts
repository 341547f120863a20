import { execute } from '../child-process.ts';

/** Addresses of the instance metadata service (EC2 User Guide, "Access instance metadata"). */
const METADATA_IPV4 = '169.254.169.254';
const METADATA_IPV6 = 'fd00:ec2::254';

/** The table of rules, `<family> <name>`; nothing else on the instance uses it. */
export const METADATA_TABLE = 'inet aw_metadata';

/** Cgroups of version 2, at the first level, whose processes reach the metadata service: aw-runner and the system's agents. */
const ALLOWED = ['system.slice', 'init.scope'];

/**
 * Closes the instance metadata service, and with it the credentials of the instance's role, to all processes but those of the
 * system's services. The rule follows the cgroup and not the user, so it holds for a job with sudo too, unless the job changes
 * the rules: `closeMetadata` runs again before every job. Forwarded traffic, which is that of containers, is dropped.
 *
 * @param allowed cgroups that exist now; a rule is bound to the directory and not to the name
 * @throws if nftables is missing or the kernel refuses the rules; no job may start then
 */
export async function closeMetadata(allowed: readonly string[] = ALLOWED): Promise<void> {
  await execute('nft', ['-f', '-'], { input: metadataRules(allowed) });
}

/** Removes the rules: for groups whose jobs use the role of the instance. */
export async function openMetadata(): Promise<void> {
  await execute('nft', ['-f', '-'], { input: `table ${METADATA_TABLE}\ndelete table ${METADATA_TABLE}\n` });
}

/** One transaction: there is no moment without rules. The first line makes the second one valid at the first run. */
export function metadataRules(allowed: readonly string[]): string {
  return `table ${METADATA_TABLE}
delete table ${METADATA_TABLE}
table ${METADATA_TABLE} {
  chain output {
    type filter hook output priority filter - 10; policy accept;
    ip daddr ${METADATA_IPV4} jump decide
    ip6 daddr ${METADATA_IPV6} jump decide
  }
  chain decide {
${allowed.map((name) => `    socket cgroupv2 level 1 "${name}" accept`).join('\n')}
    reject
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    ip daddr ${METADATA_IPV4} drop
    ip6 daddr ${METADATA_IPV6} drop
  }
}
`;
}
