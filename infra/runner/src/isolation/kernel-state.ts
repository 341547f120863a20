import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { ChildProcessFailed, execute } from '../child-process.ts';
import { METADATA_TABLE } from './metadata-access.ts';

/**
 * State of the kernel that has no namespace of its own in a job and that a job with root, or the Docker daemon of a job, can
 * change: network links, firewall rules, sysctls, binary formats and loop devices. It is read once per boot, before the first job, and
 * restored after each job. Routes, loaded modules and the clock are not: such a job is contained by its instance only.
 */
export const kernelStateSchema = v.object({
  /** Names of the virtual network links. */
  links: v.array(v.string()),
  /** Rules of each nftables table, by `<family> <name>`, as `nft` prints them without counters. */
  tables: v.record(v.string(), v.string()),
  /** Output of `iptables-save` and `ip6tables-save`; absent without these programs. */
  saved: v.object({ ipv4: v.exactOptional(v.string()), ipv6: v.exactOptional(v.string()) }),
  /** Value of each sysctl, by its path below `/proc/sys`. */
  sysctls: v.record(v.string(), v.string()),
  /** Names of the registered binary formats. */
  formats: v.array(v.string()),
});
export type KernelState = v.InferOutput<typeof kernelStateSchema>;

/** Sysctls that weaken an instance or its later jobs. A kernel without one of them has no value for it. */
const SYSCTLS = [
  'fs/file-max',
  'fs/inotify/max_user_instances',
  'fs/inotify/max_user_watches',
  'fs/protected_fifos',
  'fs/protected_hardlinks',
  'fs/protected_regular',
  'fs/protected_symlinks',
  'fs/suid_dumpable',
  'kernel/core_pattern',
  'kernel/core_pipe_limit',
  'kernel/core_uses_pid',
  'kernel/dmesg_restrict',
  'kernel/kptr_restrict',
  'kernel/io_uring_disabled',
  'kernel/modprobe',
  'kernel/perf_event_paranoid',
  'kernel/pid_max',
  'kernel/randomize_va_space',
  'kernel/sysrq',
  'kernel/threads-max',
  'kernel/unprivileged_bpf_disabled',
  'kernel/yama/ptrace_scope',
  'net/core/somaxconn',
  'net/ipv4/conf/all/route_localnet',
  'net/ipv4/ip_forward',
  'net/ipv4/ip_local_port_range',
  'net/ipv4/ip_unprivileged_port_start',
  'net/ipv6/conf/all/forwarding',
  'user/max_user_namespaces',
  'vm/dirty_bytes',
  'vm/max_map_count',
  'vm/overcommit_memory',
  'vm/swappiness',
];

/** The part of `ip -json -details link show` that is read. `info_kind` is absent for hardware and for `lo`. */
const linkList = v.array(
  v.object({ ifname: v.string(), linkinfo: v.optional(v.object({ info_kind: v.optional(v.string()) })) }),
);

const FORMATS = '/proc/sys/fs/binfmt_misc';

/** Tables of nftables that iptables manages. Their rules can use extensions that `nft` prints and cannot read. */
const IPTABLES = /^ip6? (filter|nat|mangle|raw|security)$/;

/** Reads the state before the first job. */
export async function readKernelState(): Promise<KernelState> {
  const [links, tables, ipv4, ipv6, sysctls, formats] = await Promise.all([
    readLinks(),
    readTables(),
    optional('iptables-save'),
    optional('ip6tables-save'),
    readSysctls(),
    readFormats(),
  ]);
  return {
    links,
    tables,
    saved: { ...(ipv4 !== undefined && { ipv4 }), ...(ipv6 !== undefined && { ipv6 }) },
    sysctls,
    formats,
  };
}

/**
 * Restores the state after a job.
 *
 * @param before the state before the first job
 * @param tree the mounted tree of the job
 * @returns what was restored, one line per item; empty if nothing differed
 * @throws if an item cannot be restored: no further job may run on the instance
 */
export async function restoreKernelState(before: KernelState, tree: string): Promise<string[]> {
  const restored: string[] = [];
  for (const name of await readLinks()) {
    if (before.links.includes(name)) continue;
    await removeLink(name);
    restored.push(`network link ${name} removed`);
  }
  restored.push(...(await restoreTables(before)));
  for (const [name, value] of Object.entries(await readSysctls())) {
    const expected = before.sysctls[name];
    if (expected === undefined || expected === value) continue;
    await writeFile(join('/proc/sys', name), expected);
    restored.push(`sysctl ${name} restored`);
  }
  for (const name of await readFormats()) {
    if (before.formats.includes(name)) continue;
    await writeFile(join(FORMATS, name), '-1');
    restored.push(`binary format ${name} removed`);
  }
  for (const device of await jobLoops(tree)) {
    await detach(device);
    restored.push(`loop device ${device} detached`);
  }
  return restored;
}

/** The kernel can have detached the device by itself meanwhile: with the last mount of a job, a moment after its end. */
async function detach(device: string): Promise<void> {
  await execute('losetup', ['--detach', device]).catch(async (error: unknown) => {
    const name = device.slice('/dev/'.length);
    await access(`/sys/block/${name}/loop/backing_file`).then(
      () => {
        throw error;
      },
      () => undefined,
    );
  });
}

async function restoreTables(before: KernelState): Promise<string[]> {
  const restored: string[] = [];
  const now = await readTables();
  let isSavedNeeded = false;
  for (const name of new Set([...Object.keys(now), ...Object.keys(before.tables)])) {
    const expected = before.tables[name];
    if (now[name] === expected) continue;
    if (expected === undefined) await execute('nft', ['delete', 'table', ...name.split(' ')]);
    else if (IPTABLES.test(name)) isSavedNeeded = true;
    else {
      const input = `table ${name}\ndelete table ${name}\n${expected}`;
      await execute('nft', ['-f', '-'], { input });
    }
    restored.push(`firewall table ${name} ${expected === undefined ? 'removed' : 'restored'}`);
  }
  if (isSavedNeeded) {
    if (before.saved.ipv4) await execute('iptables-restore', [], { input: before.saved.ipv4 });
    if (before.saved.ipv6) await execute('ip6tables-restore', [], { input: before.saved.ipv6 });
  }
  return restored;
}

/** Names of the virtual links. A network interface that is attached to the instance is no work of a job. */
async function readLinks(): Promise<string[]> {
  const links = v.parse(linkList, JSON.parse(await execute('ip', ['-json', '-details', 'link', 'show'])));
  return links.filter(({ linkinfo }) => linkinfo?.info_kind !== undefined).map(({ ifname }) => ifname);
}

/** The removal of one end of a veth removes the other end too. */
async function removeLink(name: string): Promise<void> {
  try {
    await execute('ip', ['link', 'delete', name]);
  } catch (error) {
    if ((await readLinks()).includes(name)) throw error;
  }
}

async function readTables(): Promise<Record<string, string>> {
  const tables: Record<string, string> = {};
  const names = (await execute('nft', ['list', 'tables'])).split('\n').filter(Boolean);
  for (const line of names) {
    const name = line.replace(/^table /, '');
    // Written anew before each job.
    if (name === METADATA_TABLE) continue;
    tables[name] = await execute('nft', ['--stateless', 'list', 'table', ...name.split(' ')]);
  }
  return tables;
}

/** Output of a program, or undefined if the instance does not have it. */
async function optional(program: string): Promise<string | undefined> {
  try {
    return await execute(program, []);
  } catch (error) {
    if (error instanceof ChildProcessFailed && error.exitCode === null) return undefined;
    throw error;
  }
}

async function readSysctls(): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const name of SYSCTLS) {
    try {
      values[name] = await readFile(join('/proc/sys', name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return values;
}

async function readFormats(): Promise<string[]> {
  try {
    return (await readdir(FORMATS)).filter((name) => name !== 'register' && name !== 'status').sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Loop devices over files of the job. Their files are in the tree, which they hold, or in a file system that the instance does
 * not mount, such as the overlay of the job's root.
 */
async function jobLoops(tree: string): Promise<string[]> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' '));
  const ofTree = mounts.find((fields) => fields[4] === tree)?.[2];
  const devices = new Set(mounts.map((fields) => fields[2]));
  const listed = await execute('losetup', [
    '--list',
    '--noheadings',
    '--raw',
    '--output',
    'NAME,BACK-MAJ:MIN',
  ]);
  return listed
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' '))
    .flatMap(([name = '', device = '']) => (device === ofTree || !devices.has(device) ? [name] : []));
}
