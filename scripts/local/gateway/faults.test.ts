import { describe, expect, test } from 'vitest';
import { createFaults, type FaultRule } from './faults.ts';

const target = { service: 'ssm', operation: 'PutParameter', caller: 'parameters' };
const effect = { kind: 'disconnect' } as const;

function hits(rule: Omit<FaultRule, 'effect' | 'service'>, calls: number, random = () => 0.5): boolean[] {
  const faults = createFaults(random);
  faults.add({ service: 'ssm', ...rule, effect });
  return Array.from({ length: calls }, () => faults.effectOn(target) !== undefined);
}

describe('faults', () => {
  test('every third call', () => {
    expect(hits({ every: 3 }, 6)).toEqual([false, false, true, false, false, true]);
  });

  test('twice and no more', () => {
    expect(hits({ times: 2 }, 4)).toEqual([true, true, false, false]);
  });

  test.each([
    [0.6, true],
    [0.5, false],
  ])('with a probability of %d', (probability, hit) => expect(hits({ probability }, 1)).toEqual([hit]));

  test.each([
    [{ operations: ['PutParameter'] }, true],
    [{ operations: ['GetParameter'] }, false],
    [{ caller: 'parameters' }, true],
    [{ caller: 'i-1' }, false],
  ])('only %j', (rule, hit) => expect(hits(rule, 1)).toEqual([hit]));

  test('only the service that is named', () => {
    const faults = createFaults();
    faults.add({ service: 's3', effect });
    expect(faults.effectOn(target)).toBeUndefined();
  });

  test('the removal of a rule returns how often it applied', () => {
    const faults = createFaults();
    const remove = faults.add({ service: 'ssm', effect });
    faults.effectOn(target);
    expect(remove()).toBe(1);
    expect(faults.effectOn(target)).toBeUndefined();
  });
});
