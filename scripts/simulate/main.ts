import { writePage } from '../timeline/page.ts';
import { BadOption, HELP, parseOptions } from './options.ts';
import { simulate } from './simulate.ts';

/** `npm run simulate`: plays fleets on virtual time. The last line is JSON. */
async function main(args: readonly string[]): Promise<number> {
  let parsed: ReturnType<typeof parseOptions>;
  try {
    parsed = parseOptions(args);
  } catch (error) {
    if (!(error instanceof BadOption)) throw error;
    console.error(error.message);
    return 2;
  }
  if (parsed === 'help') {
    console.log(HELP);
    return 0;
  }
  const { options, output } = parsed;
  let broken = 0;
  for (let seed = options.seed; seed < options.seed + output.seeds; seed += 1) {
    const began = performance.now();
    const { summary, violations, events } = await simulate({ ...options, seed });
    if (output.timeline !== undefined) await writePage(output.timeline, events);
    broken += violations.length;
    for (const { invariant, at, detail } of violations)
      console.error(`${new Date(at).toISOString()} ${invariant}: ${detail}`);
    const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
    console.log(
      JSON.stringify({ ...summary, seconds, mebibytes: Math.round(process.memoryUsage().rss / 2 ** 20) }),
    );
  }
  return broken === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
