/** What a warming run executes. */
export type WarmingProgram = {
  /** Program and arguments. */
  argv: readonly string[];
  /** Where it starts, as the run sees it. */
  directory: string;
};

/** Exit code of a run whose command has succeeded and has left a Bazel server that did not end: its output base is not whole. */
const SERVER_LEFT = 75;

/** Time for a server to write its state and exit, in seconds. */
const GRACE_SECONDS = 60;

/**
 * Runs a program, and then ends each Bazel server that it has left in the warm directory: SIGTERM makes a server write its state. The
 * script is the first process of its run, and what goes on after its end is killed. `$1` is a pattern of an argument that such servers
 * have, and nothing else has: not the arguments of this script, which contain it. `$2` is the directory of the program.
 *
 * A shell's `wait` ends at a signal, so it is repeated until the program has ended.
 */
const SCRIPT = `server=$1 directory=$2
shift 2
cd "$directory" || exit 1
child= stopped=
trap 'stopped=yes; [ -z "$child" ] || kill -TERM $child 2>/dev/null || :' TERM
"$@" </dev/null &
child=$!
[ -z "$stopped" ] || kill -TERM $child 2>/dev/null || :
code=0
while :; do
  wait $child && code=0 || code=$?
  kill -0 $child 2>/dev/null || break
done
wait $child 2>/dev/null && code=0 || { late=$?; [ $late -eq 127 ] || code=$late; }
servers() {
  grep -lz -e "$server" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3
}
left=$(servers)
if [ -n "$left" ]; then
  kill -TERM $left 2>/dev/null
  tries=${GRACE_SECONDS * 5}
  while [ -n "$left" ] && [ $tries -gt 0 ]; do sleep 0.2; tries=$((tries - 1)); left=$(servers); done
  if [ -n "$left" ]; then
    echo "Bazel server" $left "did not end within ${GRACE_SECONDS} s" >&2
    [ $code -ne 0 ] || code=${SERVER_LEFT}
  fi
fi
exit $code
`;

/**
 * The command of a run.
 *
 * @param warm the warm directory, as the run sees it
 */
export function runScript({ argv, directory }: WarmingProgram, warm: string): [string, ...string[]] {
  const server = `^--output_base=${warm.replace(/[.[\]*^$\\]/g, '\\$&')}/`;
  return ['/bin/sh', '-c', SCRIPT, 'aw-warming', server, directory, ...argv];
}
