import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { REFUSAL_STATUS, REFUSALS } from '../../shared/fleet/registration.ts';
import { refusalBody } from './answers.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../docs/outcomes.md'), 'utf8');

const documented = (outcome: string) =>
  [...page.matchAll(/^\| (\d{3}) \| (\w+) \| `([a-z-]+)` \|/gm)]
    .filter(([, , found]) => found === outcome)
    .map(([, status, , reason]) => `${status} ${reason}`)
    .sort();

test('the table of requests has every refusal with its status', () => {
  expect(documented('refused')).toEqual(
    REFUSALS.map((reason) => `${REFUSAL_STATUS[reason]} ${reason}`).sort(),
  );
});

test('the table of requests has every reason of a denial', () => {
  const code = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => readFileSync(join(import.meta.dirname, name), 'utf8'))
    .join('\n');
  const reasons = [...code.matchAll(/\bdenied(?:\(|: )'([a-z-]+)'/g)].map(([, reason]) => `403 ${reason}`);
  expect(documented('denied')).toEqual([...new Set(reasons)].sort());
});

test('a wait is a whole number of seconds within the contract', () => {
  expect([-1, 0, 0.2, 59.1, 1e9].map((seconds) => refusalBody('budget', seconds).retryAfterSeconds)).toEqual([
    0, 0, 1, 60, 900,
  ]);
});
