/**
 * The message about wrong usage of a subcommand: what is wrong, in one sentence, and how the subcommand is used.
 *
 * @param error of `util.parseArgs`
 * @param usage begins with `aw-runner`
 */
export function usageText(error: unknown, usage: string): string {
  const message = error instanceof Error ? error.message : String(error);
  // parseArgs appends advice about arguments that begin with a dash, which no subcommand accepts.
  return `${message.split(/\. |\n/)[0]}\n\nusage: ${usage}`;
}
