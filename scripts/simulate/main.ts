import { writeFile } from 'node:fs/promises';
import { writePage } from '../timeline/page.ts';
import { BadOption, HELP, type Options, type Output, parseOptions } from './options.ts';
import { commandOf, shrink } from './shrink.ts';
import { simulate } from './simulate.ts';
import { summarySvg } from './svg.ts';

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
  let isBroken = false;
  for (let seed = options.seed; seed < options.seed + output.seeds; seed += 1) {
    isBroken = (await playSeed({ ...options, seed }, output)) || isBroken;
  }
  return isBroken ? 1 : 0;
}

/** @returns whether an invariant broke */
async function playSeed(options: Options, output: Output): Promise<boolean> {
  const began = performance.now();
  const { summary, violations, events, measures } = await simulate(options);
  const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
  if (output.timeline !== undefined) await writePage(output.timeline, events);
  if (output.svg !== undefined) await writeFile(output.svg, summarySvg(summary, measures.perHour));
  for (const { invariant, at, detail } of violations)
    console.error(`${new Date(at).toISOString()} ${invariant}: ${detail}`);
  const [first] = violations;
  if (first && output.shrink) {
    const { invariant } = first;
    const breaks = async (smaller: Options) =>
      (await simulate(smaller)).violations.some((violation) => violation.invariant === invariant);
    const smallest = await shrink(options, breaks, (smaller) => console.error(commandOf(smaller, invariant)));
    console.error(`the smallest world found: ${commandOf(smallest, invariant)}`);
  }
  console.log(
    JSON.stringify({ ...summary, seconds, mebibytes: Math.round(process.memoryUsage().rss / 2 ** 20) }),
  );
  return violations.length > 0;
}

process.exitCode = await main(process.argv.slice(2));
