import { expect, test } from 'vitest';
import { seriesOf } from './series.ts';

const ARN = 'arn:aws:cloudwatch:us-west-2:210987654321:alarm:';
const named = (name: string, group?: string) => ({ name, arn: `${ARN}${name}`, group });

test('the alarms of one kind are a series', () => {
  const series = { names: 'aw-old-jobs-', arn: `${ARN}aw-old-jobs-*` };
  expect(seriesOf(named('aw-old-jobs-gha-default', 'gha/default'), 'aw')).toEqual(series);
  expect(seriesOf(named('aw-old-jobs-bk-large', 'bk/large'), 'aw')).toEqual(series);
});

test.each([
  ['an alarm without a runner group', named('aw-scaling-failures')],
  ['an alarm of a runner group with another name', named('aw-old-jobs-gha-default', 'gha/large')],
  ['an alarm without a kind', named('aw-gha-default', 'gha/default')],
  [
    'an alarm whose ARN is not known',
    { ...named('aw-old-jobs-gha-default', 'gha/default'), arn: `${ARN}other` },
  ],
])('%s has no series', (_, alarm) => {
  expect(seriesOf(alarm, 'aw')).toBeUndefined();
});
