import { readFile } from 'node:fs/promises';
import type { KernelPort } from '../../../infra/runner/src/isolation/job-places.ts';

/**
 * The kernel of a laptop is not that of an instance: other programs change its network and its firewall at the same time, and the
 * metadata of the local cloud are behind another address. So jobs of the local cloud have their trees, roots and namespaces, and
 * nothing of the kernel is changed or restored.
 */
export const localKernel: KernelPort = {
  read: async () => ({ links: [], tables: {}, saved: {}, sysctls: {}, formats: [] }),
  restore: async () => [],
  async closeMetadata() {},
  async openMetadata() {},
  bootId: async () => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
};
