import { dirname } from 'node:path';

/**
 * The root directory of one job: an overlay over the root of the instance whose writable part lies in the tree of the job, in
 * mount, PID, IPC, UTS and cgroup namespaces of its own. Everything that the job changes is in the tree or in the namespaces, so
 * it is gone when both are.
 *
 * An overlay shows none of the mounts below its lower directory. So the root is built from a list: `jobRootSteps` creates it,
 * and a shell of the instance executes it inside the new namespaces (util-linux `unshare`, `mount`, `pivot_root`, `setpriv`).
 */

/** What the root of a job consists of. All paths are absolute. */
export type JobRoot = {
  /** An empty directory outside of the tree. The new root is mounted here, visible in the namespaces of the job only. */
  mountPoint: string;
  /** The mounted tree of the job, a clone of an image. */
  tree: string;
  /**
   * Directories of the tree and their places in the job: warm paths, Docker's data root. `source` is relative to the tree. With
   * `ifPresent`, the job sees the directory of the instance where the tree has none.
   */
  warm: readonly { source: string; target: string; ifPresent?: boolean }[];
  /**
   * Directories of the instance that the job sees and changes a copy of, also where they are on a file system of their own: the
   * work directory of the agent.
   */
  views: readonly string[];
  /** Mounts of the instance that the group passes on, such as EFS. They are not cleaned between jobs. */
  sharedMounts: readonly string[];
  /** Directories of the instance that the job finds empty: its logs, the state and the images of aw-runner. */
  hidden: readonly string[];
  /** Files and directories of the instance, read-only: `source` on the instance, `target` below `/run` in the job. */
  files: readonly { source: string; target: string }[];
  /** Whether the job gets a Docker daemon of its own, with `/var/lib/docker` in the tree. It starts at its first use. */
  docker: boolean;
};

/** The file in the tree that gets the id of the program's process, as a number of the PID namespace of the job. */
export const AGENT_PID = 'agent-pid';

/** After one of these exit codes a process of the job goes on, and has finished when the file exists. */
export type Linger = { codes: readonly number[]; file: string; seconds: number };

/**
 * The command that creates the namespaces and the root of a job and runs a program in it. Its standard input, output and
 * environment are those of the program. It ends with the program's exit code, and with its end the kernel kills every process
 * that is left in the PID namespace.
 *
 * SIGTERM, SIGINT and SIGQUIT to the first process of the namespace reach the program once each.
 *
 * @param command program and arguments, inside the root of the job
 * @param user that runs it; must exist on the instance
 */
export function jobCommand(
  root: JobRoot,
  user: string,
  command: readonly string[],
  linger?: Linger,
): string[] {
  return [
    // Service managers need an absolute path, and systems differ in the place of the program.
    '/usr/bin/env',
    'unshare',
    '--mount',
    '--pid',
    '--ipc',
    '--uts',
    '--cgroup',
    '--fork',
    '--kill-child=SIGKILL',
    '--propagation=private',
    '--',
    '/bin/sh',
    '-eu',
    '-c',
    // The second shell replaces the first one, whose arguments would fill the job's list of processes.
    `${jobRootSteps(root).join('\n')}\nexec /bin/sh -eu -c ${quote(`${root.docker ? DOCKER : ''}${RUN}${linger ? lingerLines(linger) : ''}exit $code`)} "$0" "$@"`,
    'aw-job',
    user,
    ...command,
  ];
}

/**
 * A Docker daemon in the namespaces of the job. `systemd-socket-activate` (part of systemd) holds the socket and becomes the
 * daemon at the first connection, so a job without Docker pays for a socket only, and a restart of aw-runner interrupts
 * nothing. Members of the group `docker` may use it, as on the instance.
 */
const DOCKER = `if command -v dockerd >/dev/null && command -v systemd-socket-activate >/dev/null; then
  (exec systemd-socket-activate --listen=/run/docker.sock dockerd --host=fd:// --exec-opt=native.cgroupdriver=cgroupfs \
    </dev/null >/var/log/docker.log 2>&1 4>&-) &
  tries=0
  until [ -S /run/docker.sock ] || [ $tries -ge 6000 ] || ! kill -0 $! 2>/dev/null; do sleep 0.01; tries=$((tries + 1)); done
  chmod 0660 /run/docker.sock
  if getent group docker >/dev/null; then chgrp docker /run/docker.sock; fi
fi
`;

/**
 * Runs the program as a child of this shell, which is the first process of the PID namespace: it collects the processes that
 * the job leaves without a parent, and passes signals on. A shell's `wait` ends at a signal, so it is repeated until the
 * program has ended.
 */
const RUN = `user=$1
shift
if [ "$user" = root ]; then set -- env "HOME=/root" USER=root LOGNAME=root "$@"
else
  home=$(getent passwd "$user" | cut -d: -f6)
  set -- setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups --inh-caps=-all -- \\
    env "HOME=$home" "USER=$user" "LOGNAME=$user" "$@"
fi
exec 3<&0
# A shell starts a program in the background with SIGINT and SIGQUIT ignored, and the whole job would inherit that.
env --default-signal=INT,QUIT "$@" <&3 3<&- 4>&- &
child=$!
echo $child >&4
exec 3<&- 4>&-
for signal in TERM INT QUIT; do trap "kill -$signal $child 2>/dev/null || :" $signal; done
code=0
while :; do
  wait $child && code=0 || code=$?
  kill -0 $child 2>/dev/null || break
done
wait $child 2>/dev/null && code=0 || { late=$?; [ $late -eq 127 ] || code=$late; }
`;

function lingerLines({ codes, file, seconds }: Linger): string {
  return `case $code in ${codes.join('|')})
  tries=${seconds * 5}
  until [ -e ${quote(file)} ] || [ $tries -le 0 ]; do sleep 0.2; tries=$((tries - 1)); done ;;
esac
`;
}

/**
 * The lines of a POSIX shell that build the root, in order. The shell is the first process of new mount and PID namespaces and
 * has root's rights. Each line fails the script if its mount fails.
 */
export function jobRootSteps(root: JobRoot): string[] {
  const { tree, mountPoint } = root;
  const at = (path: string) => quote(`${mountPoint}${path}`);
  const inTree = (name: string) => quote(`${tree}/${name}`);
  return [
    'umask 022',
    'cwd=$PWD',
    // A command that starts after the tree was discarded would otherwise write to the disk of the instance.
    `if ! mountpoint -q ${quote(tree)}; then echo ${quote(`the tree ${tree} of the job is not mounted`)} >&2; exit 1; fi`,
    `mkdir -p ${['root/upper', 'root/work', 'dev/upper', 'dev/work', 'tmp', 'shm', 'log'].map(inTree).join(' ')} ${quote(mountPoint)}`,
    `chmod 1777 ${inTree('tmp')} ${inTree('shm')}`,
    // The instance can change files below the overlay at any time, so neither an index nor redirected metadata may depend on them.
    overlayStep(root, '/', 'root'),
    `mount -t proc -o nosuid,nodev,noexec proc ${at('/proc')}`,
    `mount --rbind /sys ${at('/sys')}`,
    ...deviceSteps(root),
    `mount --bind ${inTree('tmp')} ${at('/tmp')}`,
    ...cgroupSteps(mountPoint),
    ...runSteps(root),
    // The folders of the logs stay: package managers write there and create none.
    `(cd /var/log && find . -xdev -type d -exec sh -c 'for d; do mkdir -p ${inTree('log')}/"$d" && chmod --reference="$d" ${inTree('log')}/"$d" && chown --reference="$d" ${inTree('log')}/"$d"; done' sh {} +)`,
    `mount --bind ${inTree('log')} ${at('/var/log')}`,
    ...root.hidden.map(
      (path) =>
        `if [ -d ${at(path)} ]; then mount -t tmpfs -o nosuid,nodev,noexec,size=1m,mode=0755 aw-hidden ${at(path)}; fi`,
    ),
    ...root.views.flatMap((path, index) => [
      `mkdir -p ${['upper', 'work'].map((name) => inTree(`views/${index}/${name}`)).join(' ')} ${at(path)}`,
      overlayStep(root, path, `views/${index}`),
    ]),
    ...root.sharedMounts.flatMap((path) => [
      `mkdir -p ${at(path)}`,
      `mount --rbind ${quote(path)} ${at(path)}`,
    ]),
    ...warmSteps(root),
    // Warm directories can be below hidden ones, so these become read-only when all mount points exist.
    ...root.hidden.map((path) => `if [ -d ${at(path)} ]; then mount -o remount,ro ${at(path)}; fi`),
    // The tree itself has no place in the new root: the shell keeps this one file of it open until the program runs.
    `exec 4>${inTree(AGENT_PID)}`,
    `cd ${quote(mountPoint)}`,
    'pivot_root . .',
    // The old root lies on top of the new one. Only this namespace loses it.
    'umount -l .',
    'cd "$cwd" 2>/dev/null || cd /',
  ];
}

/**
 * Binds the warm directories. A place is looked up on the instance, since a link in the new root would lead out of it before it is
 * the root. What is missing of a place gets the owner of the directory that is there, so that a user can go on to write in a home.
 */
function warmSteps(root: JobRoot): string[] {
  const inTree = (name: string) => quote(`${root.tree}/${name}`);
  return [
    `make_place() { if [ ! -d "$1" ]; then make_place "\${1%/*}"; mkdir "$1"; chown --reference="\${1%/*}" "$1"; fi; }`,
    ...warmDirectories(root).flatMap(({ source, target, ifPresent }) => {
      const find = `place=${quote(root.mountPoint)}$(readlink -m ${quote(target)})`;
      const bind = `make_place "$place"; mount --bind ${inTree(source)} "$place"`;
      if (!ifPresent) return [`mkdir -p ${inTree(source)}`, find, bind];
      // The image can have a file there.
      return [
        find,
        `if [ -d ${inTree(source)} ] && { [ -d "$place" ] || [ ! -e "$place" ]; }; then ${bind}; fi`,
      ];
    }),
  ];
}

/** Docker's data root is a warm directory: images that a warming run has pulled are there in every job. */
function warmDirectories({ warm, docker }: JobRoot): JobRoot['warm'] {
  const dataRoot = '/var/lib/docker';
  if (!docker || warm.some(({ target }) => target === dataRoot)) return warm;
  return [...warm, { source: 'docker', target: dataRoot }];
}

/** A writable view of a directory of the instance: what the job changes in it is in the tree. */
function overlayStep({ tree, mountPoint }: JobRoot, directory: string, name: string): string {
  const layers = `lowerdir=${overlayPath(directory)},upperdir=${overlayPath(`${tree}/${name}/upper`)},workdir=${overlayPath(`${tree}/${name}/work`)}`;
  const target = directory === '/' ? mountPoint : `${mountPoint}${directory}`;
  const options = `${layers},index=off,metacopy=off,xino=off,volatile`;
  // `volatile` (Linux 5.10) writes nothing when the job ends, and marks the work directory. The mark concerns a tree after a crash
  // of the kernel, and such a tree is never used again. A second start in the same place finds the mark of the first one.
  return `rm -rf ${quote(`${tree}/${name}/work/work/incompat`)} && mount -t overlay -o ${quote(options)} aw-job ${quote(target)}`;
}

/**
 * The devices of the instance, terminals of the job's own, and shared memory that is a part of the tree: its size is that of
 * the disk, and it is gone with the job. A job with root can create files and devices in `/dev`, so it is an overlay too.
 */
function deviceSteps(root: JobRoot): string[] {
  const at = (path: string) => quote(`${root.mountPoint}/dev/${path}`);
  return [
    overlayStep(root, '/dev', 'dev'),
    `mkdir -p ${at('pts')} ${at('shm')} ${at('mqueue')}`,
    `mount -t devpts -o newinstance,nosuid,noexec,mode=0620,gid=5,ptmxmode=0666 devpts ${at('pts')}`,
    `mount --bind ${quote(`${root.tree}/shm`)} ${at('shm')}`,
    // A namespace of System V IPC has queues of its own. A kernel can lack them.
    `mount -t mqueue -o nosuid,nodev,noexec mqueue ${at('mqueue')} 2>/dev/null || :`,
  ];
}

/**
 * The job's own view of its cgroup: a container runtime in the job then creates its cgroups below that of the job. Without
 * version 2 at the usual place (a hybrid layout) the job sees the mounts of the instance.
 */
function cgroupSteps(mountPoint: string): string[] {
  const target = quote(`${mountPoint}/sys/fs/cgroup`);
  return [
    // The kernel refuses to mount a file system twice on one mount point, and this one is there already, from `/sys` of the instance.
    `if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then umount -l ${target}; mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 ${target}; fi`,
  ];
}

/** `/run` of the job: resolver files and what the root names. No D-Bus and no systemd, as in a container. */
function runSteps({ mountPoint, files }: JobRoot): string[] {
  const run = `${mountPoint}/run`;
  return [
    `mount -t tmpfs -o nosuid,nodev,mode=0755 aw-run ${quote(run)}`,
    `mkdir -p ${quote(`${run}/lock`)} ${quote(`${run}/user`)} && chmod 1777 ${quote(`${run}/lock`)}`,
    // The resolver rewrites its files, so the directory is passed on and not the files.
    `for d in /run/systemd/resolve /run/NetworkManager /run/resolvconf; do if [ -d "$d" ]; then mkdir -p ${quote(run)}"\${d#/run}" && mount --bind -o ro "$d" ${quote(run)}"\${d#/run}"; fi; done`,
    ...files.map(({ source, target }) => {
      const place = quote(`${mountPoint}${target}`);
      const parent = quote(dirname(`${mountPoint}${target}`));
      return `mkdir -p ${parent}; if [ -d ${quote(source)} ]; then mkdir ${place}; else : >${place}; fi; mount --bind -o ro ${quote(source)} ${place}`;
    }),
  ];
}

/** In the options of an overlay, a comma ends an option and a colon a directory. */
function overlayPath(path: string): string {
  return path.replace(/[\\,:]/g, '\\$&');
}

/** A text as one word of a POSIX shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
