import { expect, test } from 'vitest';
import { lastDefinite } from './alarm-history.ts';

const change = (from: string, to: string) => ({
  type: 'StateUpdate',
  data: JSON.stringify({ version: '1.0', oldState: { stateValue: from }, newState: { stateValue: to } }),
});
const settings = (type: string) => ({
  type: 'ConfigurationUpdate',
  data: JSON.stringify({ version: '1.0', type }),
});
const action = { type: 'Action', data: 'anything' };

test.each([
  ['what it left to have no data', [change('ALARM', 'INSUFFICIENT_DATA')], 'ALARM'],
  ['the latest state that is one', [change('OK', 'ALARM'), change('ALARM', 'OK')], 'ALARM'],
  ['beside actions and new settings', [action, settings('Update'), change('OK', 'INSUFFICIENT_DATA')], 'OK'],
  ['nothing for a new alarm', [settings('Create')], undefined],
  [
    'nothing of a deleted namesake',
    [settings('Create'), settings('Delete'), change('OK', 'ALARM')],
    undefined,
  ],
  ['nothing where there is no history', [], undefined],
])('the last definite state: %s', (_, entries, expected) => {
  expect(lastDefinite(entries)).toBe(expected);
});

test('history that CloudWatch would not write is an error, not a guess', () => {
  expect(() => lastDefinite([{ type: 'StateUpdate', data: '{}' }])).toThrow();
});
