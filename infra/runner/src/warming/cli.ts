import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { parseBazelWarming, parseCheckout, type RunnerConfig } from '../config.ts';
import { warmUser } from '../directories.ts';
import { usageText } from '../usage.ts';
import { endBazelServers } from './bazel-servers.ts';
import { checkOut } from './checkout.ts';
import { runThenAlways } from './finally.ts';
import { warmBazel } from './warm-bazel.ts';

export const WARM_USAGE = `aw-runner warm-bazel [--directory DIR] [--user USER] [--git URL [--ref REF]] [--build] [--program NAME] [TARGET...]

  Fetches and analyses the targets (//... if none is named) of the workspace DIR (here, if not named) with the caches in the
  warm directory and the rights of USER, and shuts Bazel down. --git checks REF of URL out first; --build also builds. For a
  job of the CI provider that runs \`aw-runner snapshot save\` next, or to try the \`bazel\` of a set by hand.`;

function parseFlags(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      directory: { type: 'string' },
      git: { type: 'string' },
      ref: { type: 'string' },
      build: { type: 'boolean' },
      program: { type: 'string' },
      user: { type: 'string' },
    },
  });
}

/** @returns the exit code: 0, 1 if Bazel or git failed, 2 for wrong usage */
export async function warmCommand(
  args: readonly string[],
  config: RunnerConfig,
  signal: AbortSignal,
  log: (line: string) => void,
): Promise<number> {
  let flags: ReturnType<typeof parseFlags>;
  try {
    flags = parseFlags(args);
  } catch (error) {
    console.error(usageText(error, WARM_USAGE));
    return 2;
  }
  const { positionals, values } = flags;
  const { git: repository, ref, directory: folder = '.', user = warmUser(config), ...rest } = values;
  const directory = resolve(folder);
  const checkout =
    repository === undefined
      ? undefined
      : parseCheckout({ directory, repository, ...(ref !== undefined && { ref }) });
  const settings = parseBazelWarming({
    ...rest,
    directory,
    ...(positionals.length > 0 && { targets: positionals }),
  });
  const { warm } = config.directories;
  try {
    if (checkout) await checkOut(checkout, { provider: config.agent.driver, user, signal, log });
    const work = warmBazel(settings, warm, { user, env: {}, signal, log });
    await runThenAlways(work, () => endBazelServers(warm), log);
    return 0;
  } catch (error) {
    log(`warm-bazel failed: ${errorText(error)}`);
    return 1;
  }
}
