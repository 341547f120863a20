import type { InvariantName } from './invariants.ts';
import { HOUR } from './kernel.ts';
import type { FaultName, Options } from './options.ts';

/** Most worlds that are tried. */
const MOST_TRIES = 60;

/**
 * Looks for a smaller world in which the same invariant breaks: fewer groups, fewer runners, a shorter time, one provider, one fault less. It
 * keeps what still breaks it, until nothing smaller does.
 *
 * @param breaks plays a world and tells whether the invariant breaks in it
 * @param log gets each world that is kept
 */
export async function shrink(
  options: Options,
  breaks: (smaller: Options) => Promise<boolean>,
  log: (smaller: Options) => void = () => {},
): Promise<Options> {
  let present = options;
  let tries = 0;
  for (let found = true; found && tries < MOST_TRIES; ) {
    found = false;
    for (const smaller of smallerThan(present)) {
      if (tries >= MOST_TRIES) break;
      tries += 1;
      if (!(await breaks(smaller))) continue;
      present = smaller;
      found = true;
      log(present);
      break;
    }
  }
  return present;
}

/** Smaller worlds, those that take the most away first. */
function* smallerThan(options: Options): Generator<Options> {
  const { groups, runners, length, faults, providers } = options;
  if (faults.length > 1) {
    const half = Math.ceil(faults.length / 2);
    yield { ...options, faults: faults.slice(0, half) };
    yield { ...options, faults: faults.slice(half) };
  }
  if (groups > 1)
    yield { ...options, groups: Math.ceil(groups / 2), runners: Math.max(1, Math.ceil(runners / 2)) };
  if (length > HOUR) yield { ...options, length: Math.ceil(length / 2) };
  if (runners > groups) yield { ...options, runners: Math.max(groups, Math.ceil(runners / 2)) };
  if (providers.length > 1) for (const provider of providers) yield { ...options, providers: [provider] };
  for (const fault of faults) yield { ...options, faults: without(faults, fault) };
  if (options.outage > 0) yield { ...options, outage: 0 };
  if (options.spot > 0) yield { ...options, spot: 0 };
  if (options.installations > 1) yield { ...options, installations: 1 };
}

function without(faults: readonly FaultName[], fault: FaultName): FaultName[] {
  return faults.filter((each) => each !== fault);
}

/** The command line of a world. */
export function commandOf(options: Options, invariant: InvariantName): string {
  const names = { gha: 'github', bk: 'buildkite', cci: 'circleci' } as const;
  const { seed, length, groups, runners, providers, installations, load, jobMinutes, spot } = options;
  const parts = [
    ...['--seed', seed, '--length', `${length / 1_000}s`, '--groups', groups, '--runners', runners],
    ...[
      '--providers',
      providers.map((provider) => names[provider]).join(','),
      '--installations',
      installations,
    ],
    ...['--load', load, '--job-length', `${jobMinutes}m`, '--spot', spot],
    ...['--outage', `${options.outage / 1_000}s`, '--idle-timeout', `${options.idleTimeoutMinutes}m`],
    ...['--faults', options.faults.join(',') || 'none', '--policy', options.policy],
  ];
  return `${invariant} breaks in: npm run simulate -- ${parts.join(' ')}`;
}
