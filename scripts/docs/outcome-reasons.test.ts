import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { type OutcomeReason, reasonsInCode, reasonsInTable } from './outcome-reasons.ts';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/outcomes.md'), 'utf8');
const code = reasonsInCode(root);

/** Reasons of the calls whose argument is a variable. Each reason must be a literal in the folder of the function. */
const VARIABLE: Record<string, string[]> = {
  'warming: dead(problem)': ['no-warming-group', 'no-room'],
  'alarms: skipped(desired.reason)': ['insufficient-data', 'muted'],
  'alarms: skipped(alarmEvent.ignored)': ['configuration-changed', 'first-state'],
  // The record loop maps errors to outcomes; the reasons are those of the errors.
  'shared: dead(error.reason)': [],
  'shared: retryLater(error.reason)': [],
};

const line = ({ function: owner, outcome, reason }: OutcomeReason) => `${owner} ${outcome} ${reason}`;
const lines = (reasons: readonly OutcomeReason[]) => [...new Set(reasons.map(line))].sort();

test('the table lists exactly the reasons in the code', () => {
  const variable = code.variables.flatMap(({ call, function: owner, outcome }) =>
    (VARIABLE[call] ?? []).map((reason) => ({ function: owner, outcome, reason })),
  );
  expect(lines(reasonsInTable(page))).toEqual(lines([...code.reasons, ...variable]));
});

test('every variable reason is listed in this test and occurs in the code', () => {
  expect([...new Set(code.variables.map(({ call }) => call))].sort()).toEqual(Object.keys(VARIABLE).sort());
  for (const [call, reasons] of Object.entries(VARIABLE)) {
    const folder = join(root, 'functions', call.slice(0, call.indexOf(':')));
    for (const reason of reasons) {
      const files = readdirSync(folder, { encoding: 'utf8' }).filter((name) => /^[\w-]+\.ts$/.test(name));
      const found = files.some((name) => readFileSync(join(folder, name), 'utf8').includes(`'${reason}'`));
      expect(found, `${call} ${reason}`).toBe(true);
    }
  }
});

test('no row appears twice, and every row has a meaning and an action', () => {
  const rows = reasonsInTable(page).map(line);
  expect(new Set(rows).size).toBe(rows.length);
  for (const row of page.matchAll(/^\| `?\w+`? \| (?:skipped|retry|dead) \|.*$/gm))
    expect(row[0]).toMatch(/^\| `?\w+`? \| \w+ \| `[a-z0-9-]+` \| [^|]+ \| [^|]+ \|$/);
});
