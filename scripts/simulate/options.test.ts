import { expect, test } from 'vitest';
import { HOUR, MINUTE } from './kernel.ts';
import { BadOption, FAULTS, HELP, parseOptions, WEEK } from './options.ts';
import { commandOf, shrink } from './shrink.ts';

const parsed = (line: string) => {
  const result = parseOptions(line.split(' ').filter((word) => word !== ''));
  if (result === 'help') throw new Error('help');
  return result;
};

test('without options it is the week', () => {
  expect(parsed('').options).toEqual(WEEK);
});

test('options name a world', () => {
  const { options, output } = parsed(
    '--providers github,circleci --groups 200 --runners 900 --outage 30m --spot 0.1 --seed 7 --length 2d --without zone,agents --svg a.svg',
  );
  expect(options).toMatchObject({
    providers: ['gha', 'cci'],
    groups: 200,
    outage: 30 * MINUTE,
    spot: 0.1,
    seed: 7,
  });
  expect(options.length).toBe(48 * HOUR);
  expect(options.faults).toHaveLength(Object.keys(FAULTS).length - 2);
  expect(output.svg).toBe('a.svg');
  expect(parsed('--faults none --outage 0').options).toMatchObject({ faults: [], outage: 0 });
  expect(parseOptions(['--help'])).toBe('help');
  for (const fault of Object.keys(FAULTS)) expect(HELP).toContain(fault);
});

test.each([
  ['--groups 0', '--groups has to be a whole number from 1 to 5000, not "0"'],
  ['--groups many', '--groups has to be a whole number from 1 to 5000, not "many"'],
  ['--spot 2', '--spot has to be a number from 0 to 1, not "2"'],
  ['--outage 2', '--outage has to be a time such as 90s, 30m, 2h or 7d'],
  ['--length 1m', '--length has to be a time such as 90s, 30m, 2h or 7d, from 10m to 28d, not "1m"'],
  ['--providers github,gitlab', '--providers: "gitlab" is none of github, buildkite, circleci'],
  ['--faults zone --without agents', 'exclude each other'],
  ['--faults rain', '--faults: "rain" is none of events'],
  ['--policy best', '--policy: "best" is none of hearth, webhook, scheduled'],
  ['--runners 5 --groups 10', '--runners 5 is less than --groups 10'],
  ['--speed 3', "Unknown option '--speed'"],
  ['week', 'Unexpected argument'],
])('%s: %s', (line, message) => {
  expect(() => parsed(line)).toThrow(BadOption);
  expect(() => parsed(line)).toThrow(message);
});

test('a counterexample becomes as small as it can be, and its command gives the same world', async () => {
  const breaks = async ({ groups, faults, length }: typeof WEEK) =>
    groups >= 9 && faults.includes('zone') && length >= 5 * HOUR;
  const smallest = await shrink({ ...WEEK, groups: 300, runners: 3_000 }, breaks);
  expect(smallest).toMatchObject({
    faults: ['zone'],
    providers: ['gha'],
    outage: 0,
    spot: 0,
    installations: 1,
  });
  expect(smallest.groups).toBeLessThan(19);
  expect(smallest.length).toBeLessThan(11 * HOUR);
  const [, command = ''] = commandOf(smallest, 'jobs-end').split('npm run simulate -- ');
  expect(parsed(command).options).toEqual(smallest);
});
