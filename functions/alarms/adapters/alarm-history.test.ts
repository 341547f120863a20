import { expect, test } from 'vitest';
import { priorStateIn } from './alarm-history.ts';

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
  ['the state before missing data', [change('ALARM', 'INSUFFICIENT_DATA')], 'ALARM'],
  ['the latest definite state', [change('OK', 'ALARM'), change('ALARM', 'OK')], 'ALARM'],
  ['beside actions and new settings', [action, settings('Update'), change('OK', 'INSUFFICIENT_DATA')], 'OK'],
  ['none for a new alarm', [settings('Create')], 'none'],
  [
    'none for an alarm that was created again',
    [settings('Create'), settings('Delete'), change('OK', 'ALARM')],
    'none',
  ],
  ['deleted', [settings('Delete'), change('OK', 'ALARM')], 'deleted'],
  ['undefined without entries', [], undefined],
])('the prior state: %s', (_, entries, expected) => {
  expect(priorStateIn(entries)).toBe(expected);
});

test('an entry that CloudWatch does not write is an error, not a guess', () => {
  expect(() => priorStateIn([{ type: 'StateUpdate', data: '{}' }])).toThrow();
});

test.each([
  ['no JSON', 'StateUpdate', 'PRIVATE text'],
  ['a text in place of an object', 'StateUpdate', '{"oldState": "PRIVATE text"}'],
  ['an update without a type', 'ConfigurationUpdate', '{"type": {"PRIVATE": 1}}'],
])('the error about an entry that is %s quotes no part of it', (_, type, data) => {
  expect(() => priorStateIn([{ type, data }])).toThrow(/^(?!.*PRIV).*item of the history/);
});
