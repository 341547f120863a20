/** Most lines of one minute: what a job sends must not fill the log. */
const LINES = 60;
const MINUTE_MS = 60_000;

/**
 * A log with a limit. The first line of the next minute tells how many were left out.
 *
 * @param now in milliseconds
 */
export function limitedLog(
  log: (line: string) => void,
  now: () => number = () => performance.now(),
): (line: string) => void {
  let began = now();
  let lines = 0;
  return (line) => {
    if (now() - began >= MINUTE_MS) {
      if (lines > LINES) log(`${lines - LINES} lines of the build cache were left out`);
      began = now();
      lines = 0;
    }
    lines += 1;
    if (lines <= LINES) log(line);
  };
}
