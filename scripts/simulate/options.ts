import { parseArgs } from 'node:util';
import { CI_PROVIDERS, type CiProvider } from '../../shared/fleet/names.ts';
import { DAY, HOUR, MINUTE, SECOND } from './kernel.ts';

/** One world and what happens in it. */
export type Options = {
  seed: number;
  /** Length in milliseconds. */
  length: number;
  /** Hour of the Monday at which it begins. */
  startHour: number;
  /** Time after the last job was queued within which every job has to have ended, in milliseconds. */
  closing: number;
  groups: number;
  /** Sum of the maxima of all groups. */
  runners: number;
  providers: readonly CiProvider[];
  installations: number;
  /** Load at the peak of a day, as a share of `runners`. */
  load: number;
  /** Mean length of jobs, in minutes. */
  jobMinutes: number;
  /** Share of groups on Spot, whose instances EC2 reclaims. */
  spot: number;
  idleTimeoutMinutes: number;
  /** Length of an outage of the first provider, in milliseconds; 0: none. */
  outage: number;
  faults: readonly FaultName[];
  policy: PolicyName;
};

/** What can go wrong beside outages and Spot. Each can be left out, so that a counterexample has only those that it needs. */
export const FAULTS = {
  events: 'events and messages are lost, late and doubled',
  throttling:
    'Auto Scaling throttles a few calls, and half of them for an hour; S3 fails for a minute per day',
  zone: 'an availability zone is lost for an hour',
  deployment: 'a deployment in the middle of a burst restarts all functions and replaces instances',
  snapshot: 'the nightly snapshot is corrupt at the morning peak',
  clocks: 'the clocks of instances are wrong by up to two minutes',
  lies: 'the provider takes busy agents for idle',
  forgets: 'the provider removes idle registrations after minutes',
  boots: 'boots and places of jobs fail now and then',
  restarts: 'aw-runner is killed and starts again',
  answers: 'answers of the function registration are lost',
  agents: 'a new release of the agent, which every runner has to fetch',
  registration: 'the function registration is down for an hour',
  scaling: 'the function scaling is down for an hour',
  jobs: 'jobs that no group takes',
  operator: 'an operator lowers the capacity of large groups, and Auto Scaling chooses the instances that go',
  stops: 'the function lifecycle is down for five minutes',
} as const;
export type FaultName = keyof typeof FAULTS;
const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

export const POLICIES = ['hearth', 'webhook', 'scheduled'] as const;
export type PolicyName = (typeof POLICIES)[number];

export const WEEK: Options = {
  seed: 1,
  length: 7 * DAY,
  startHour: 0,
  closing: DAY / 2,
  groups: 1_000,
  runners: 10_000,
  providers: CI_PROVIDERS,
  installations: 40,
  load: 0.25,
  jobMinutes: 30,
  spot: 0.2,
  idleTimeoutMinutes: 10,
  outage: 2 * HOUR,
  faults: FAULT_NAMES,
  policy: 'hearth',
};

/** What is written besides the last line. */
export type Output = {
  timeline: string | undefined;
  svg: string | undefined;
  shrink: boolean;
  seeds: number;
};

export const HELP = `npm run simulate -- [options]

Plays a fleet of runner groups on virtual time with the decision code of the product. The last line is one JSON object.

  --seed <n>               seed of all random numbers; one seed gives one history (default 1)
  --seeds <n>              plays this many seeds one after the other, from --seed on (default 1)
  --length <time>          length from Monday, 0:00, such as 7d, 12h or 90m (default 7d)
  --groups <n>             runner groups (default 1000)
  --runners <n>            sum of the maxima of all groups (default 10000)
  --providers <list>       of github, buildkite, circleci (default all three)
  --installations <n>      installations that the groups of GitHub share (default 40)
  --load <share>           jobs that run at the peak of a day, as a share of --runners (default 0.25)
  --job-length <time>      mean length of jobs (default 30m)
  --spot <share>           share of groups on Spot (default 0.2)
  --idle-timeout <time>    idle time after which a runner ends (default 10m)
  --outage <time>          length of an outage of the first provider (default 2h; 0: none)
  --faults <list>          only these faults; none: no fault (default all)
  --without <list>         all faults but these
  --policy <name>          hearth, webhook or scheduled (default hearth)
  --timeline <file.html>   writes the page of the timeline
  --svg <file.svg>         writes a summary of the week
  --shrink                 if an invariant breaks, looks for a smaller world in which it does
  --help

Faults:
${FAULT_NAMES.map((name) => `  ${name.padEnd(14)} ${FAULTS[name]}`).join('\n')}
`;

/** An option is wrong. The message names it, what is expected, and what was given. */
export class BadOption extends Error {
  override readonly name = 'BadOption';
}

const PROVIDER_NAMES: Readonly<Record<string, CiProvider>> = {
  github: 'gha',
  buildkite: 'bk',
  circleci: 'cci',
};

const UNITS: Readonly<Record<string, number>> = { s: SECOND, m: MINUTE, h: HOUR, d: DAY };

/** @throws {BadOption} */
export function parseOptions(args: readonly string[]): { options: Options; output: Output } | 'help' {
  const text = { type: 'string' } as const;
  const values = parseOrThrow(args, {
    seed: text,
    seeds: text,
    length: text,
    groups: text,
    runners: text,
    providers: text,
    installations: text,
    load: text,
    'job-length': text,
    spot: text,
    'idle-timeout': text,
    outage: text,
    faults: text,
    without: text,
    policy: text,
    timeline: text,
    svg: text,
    shrink: { type: 'boolean' },
    help: { type: 'boolean' },
  });
  if (values.help) return 'help';
  const whole = (name: keyof typeof values, most: number, otherwise: number, least = 1) =>
    numberOf(name, values[name], WHOLE, [least, most], otherwise);
  const share = (name: keyof typeof values, otherwise: number) =>
    numberOf(name, values[name], SHARE, [0, 1], otherwise);
  const time = (name: keyof typeof values, limits: readonly [number, number], otherwise: number) =>
    numberOf(name, values[name], TIME, limits, otherwise);
  const options: Options = {
    ...WEEK,
    seed: whole('seed', 2 ** 31 - 1, WEEK.seed, 0),
    length: time('length', [10 * MINUTE, 28 * DAY], WEEK.length),
    groups: whole('groups', 5_000, WEEK.groups),
    runners: whole('runners', 50_000, WEEK.runners),
    providers: providersOf(values.providers),
    installations: whole('installations', 1_000, WEEK.installations),
    load: share('load', WEEK.load),
    jobMinutes: time('job-length', [MINUTE, 9 * HOUR], WEEK.jobMinutes * MINUTE) / MINUTE,
    spot: share('spot', WEEK.spot),
    idleTimeoutMinutes: time('idle-timeout', [MINUTE, DAY / 2], WEEK.idleTimeoutMinutes * MINUTE) / MINUTE,
    outage: time('outage', [0, DAY], WEEK.outage),
    faults: faultsOf(values.faults, values.without),
    policy: oneOf('policy', values.policy, POLICIES, WEEK.policy),
  };
  if (options.runners < options.groups)
    throw new BadOption(
      `--runners ${options.runners} is less than --groups ${options.groups}: each group needs at least one runner`,
    );
  return {
    options,
    output: {
      timeline: values.timeline,
      svg: values.svg,
      shrink: values.shrink ?? false,
      seeds: whole('seeds', 1_000, 1),
    },
  };
}

function parseOrThrow<T extends NonNullable<Parameters<typeof parseArgs>[0]>['options']>(
  args: readonly string[],
  options: T,
) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: false }).values as Record<
      string,
      never
    > & {
      [Name in keyof T]?: T[Name] extends { type: 'boolean' } ? boolean : string;
    };
  } catch (error) {
    throw new BadOption(
      `${error instanceof Error ? error.message.split('. ')[0] : error}. --help lists the options`,
    );
  }
}

/** A kind of number: how it is written, and what it means. */
type NumberKind = { parse(text: string): number; describe(least: number, most: number): string };

const WHOLE: NumberKind = {
  parse: (text) => (/^\d+$/.test(text) ? Number(text) : Number.NaN),
  describe: (least, most) => `a whole number from ${least} to ${most}`,
};

const SHARE: NumberKind = {
  parse: (text) => (/^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN),
  describe: (least, most) => `a number from ${least} to ${most}`,
};

/** In milliseconds. */
const TIME: NumberKind = {
  parse(text) {
    const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
    return text === '0' ? 0 : Number(number) * (UNITS[unit] ?? Number.NaN);
  },
  describe: (least, most) => `a time such as 90s, 30m, 2h or 7d, from ${least / MINUTE}m to ${most / DAY}d`,
};

/** @throws {BadOption} unless the text is such a number within the limits */
function numberOf(
  name: string,
  text: string | undefined,
  { parse, describe }: NumberKind,
  [least, most]: readonly [number, number],
  otherwise: number,
): number {
  if (text === undefined) return otherwise;
  const value = parse(text);
  if (value >= least && value <= most) return value;
  throw new BadOption(`--${name} has to be ${describe(least, most)}, not ${JSON.stringify(text)}`);
}

function providersOf(text: string | undefined): readonly CiProvider[] {
  if (text === undefined) return WEEK.providers;
  const names = text.split(',');
  const found = names.map((name) => PROVIDER_NAMES[name]);
  const wrong = names.find((_, index) => found[index] === undefined);
  if (wrong !== undefined)
    throw new BadOption(
      `--providers: ${JSON.stringify(wrong)} is none of ${Object.keys(PROVIDER_NAMES).join(', ')}`,
    );
  return [...new Set(found as CiProvider[])];
}

function faultsOf(only: string | undefined, without: string | undefined): readonly FaultName[] {
  if (only !== undefined && without !== undefined)
    throw new BadOption('--faults and --without exclude each other: name the faults with one of them');
  const named = (option: string, text: string) =>
    text.split(',').map((name) => oneOf(option, name, FAULT_NAMES, undefined));
  if (only !== undefined) return only === 'none' ? [] : named('faults', only);
  if (without === undefined) return WEEK.faults;
  const left = named('without', without);
  return FAULT_NAMES.filter((name) => !left.includes(name));
}

function oneOf<T extends string>(
  name: string,
  text: string | undefined,
  choices: readonly T[],
  otherwise: T | undefined,
): T {
  const found = text === undefined ? otherwise : choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new BadOption(`--${name}: ${JSON.stringify(text)} is none of ${choices.join(', ')}`);
}
