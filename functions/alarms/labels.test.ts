import { describe, expect, test } from 'vitest';
import type { Alarm } from './alarm.ts';
import { readLabels } from './labels.ts';

const alarm = (change: Partial<Alarm> = {}): Alarm => ({
  name: 'aw-x',
  arn: 'arn:x',
  state: 'ALARM',
  reason: '',
  since: undefined,
  description: '',
  suppression: { kind: 'none' },
  metric: undefined,
  dimensions: {},
  ...change,
});

describe('how to page for an alarm', () => {
  test('without labels: the defaults', () => {
    expect(readLabels(alarm(), {})).toEqual({
      severity: 'error',
      runbook: undefined,
      route: undefined,
      group: undefined,
    });
  });

  test('by its tags', () => {
    const tags = {
      'hearth:severity': 'Critical',
      'hearth:runbook': 'https://wiki.example/boot',
      'hearth:route': 'night',
      'hearth:group': 'gha/large',
    };
    expect(readLabels(alarm({ dimensions: { Group: 'gha/default' } }), tags)).toEqual({
      severity: 'critical',
      runbook: 'https://wiki.example/boot',
      route: 'night',
      group: 'gha/large',
    });
  });

  test('by lines of its description, where no tag has the label', () => {
    const description =
      'Runners fail to boot.\n  Severity: warning\nrunbook: https://wiki.example/boot \r\nroute:night';
    expect(readLabels(alarm({ description }), { 'hearth:severity': 'info' })).toMatchObject({
      severity: 'info',
      runbook: 'https://wiki.example/boot',
      route: 'night',
    });
  });

  test('by the runner group that its metric is about', () => {
    expect(readLabels(alarm({ dimensions: { Group: 'bk/default' } }), {}).group).toBe('bk/default');
  });

  test.each([
    ['severity', 'loud'],
    ['severity', '__proto__'],
    ['runbook', 'javascript:alert(1)'],
    ['runbook', 'http://wiki.example'],
    ['runbook', 'see the wiki'],
  ])('a %s of "%s" counts as absent', (key, value) => {
    expect(readLabels(alarm(), { [`hearth:${key}`]: value })).toEqual(readLabels(alarm(), {}));
  });
});
