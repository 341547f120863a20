import { describe, expect, test } from 'vitest';
import type { Alarm } from './alarm.ts';
import { dedupKey, resolveEvent, seriesEvent, triggerEvent } from './incident.ts';

const ARN = 'arn:aws:cloudwatch:us-west-2:210987654321:alarm:aw-gha-default-boot';
const quiet = { severity: 'error', runbook: undefined, route: undefined, group: undefined } as const;

const alarm = (change: Partial<Alarm> = {}): Alarm => ({
  name: 'aw-gha-default-boot',
  arn: ARN,
  state: 'ALARM',
  reason: 'Threshold Crossed',
  since: new Date('2026-11-23T03:00:00Z'),
  description: 'Runners fail to boot',
  suppression: { kind: 'none' },
  metric: 'LaunchFailures',
  dimensions: { Group: 'gha/default' },
  ...change,
});

describe('an incident', () => {
  test('contains the alarm, its place, its severity and its links', () => {
    const labels = {
      ...quiet,
      severity: 'critical',
      runbook: 'https://wiki.example/boot',
      group: 'gha/default',
    } as const;
    const console =
      'https://console.aws.amazon.com/cloudwatch/home?region=us-west-2#alarmsV2:alarm/aw-gha-default-boot';
    expect(triggerEvent(alarm(), labels)).toEqual({
      event_action: 'trigger',
      dedup_key: ARN,
      client: 'Hearth',
      client_url: console,
      links: [
        { href: 'https://wiki.example/boot', text: 'Runbook' },
        { href: console, text: 'Alarm in CloudWatch' },
      ],
      payload: {
        summary: 'aw-gha-default-boot: Threshold Crossed',
        source: ARN,
        severity: 'critical',
        timestamp: '2026-11-23T03:00:00.000Z',
        group: 'gha/default',
        component: 'gha/default',
        class: 'LaunchFailures',
        custom_details: {
          description: 'Runners fail to boot',
          reason: 'Threshold Crossed',
          dimensions: '{"Group":"gha/default"}',
          account: '210987654321',
          region: 'us-west-2',
        },
      },
    });
  });

  test('of many alarms contains their names, one reason, and no runner group', () => {
    const series = { names: 'aw-boot-', arn: ARN.replace('aw-gha-default-boot', 'aw-boot-*') };
    const names = ['aw-boot-gha-default', 'aw-boot-bk-large'];
    const one = alarm({ name: 'aw-boot-gha-default' });
    const event = seriesEvent(series, one, names, { ...quiet, group: 'gha/default' });
    expect(event).toMatchObject({
      dedup_key: series.arn,
      payload: {
        summary:
          'At least 2 alarms aw-boot-* are in ALARM, among them aw-boot-gha-default: Threshold Crossed',
        source: series.arn,
        severity: 'error',
        custom_details: { alarms: 'aw-boot-gha-default, aw-boot-bk-large', region: 'us-west-2' },
      },
    });
    expect(JSON.stringify(event)).not.toContain('gha/default');
    expect(resolveEvent(series.arn)).toEqual({ event_action: 'resolve', dedup_key: series.arn });
  });

  test('leaves out what the alarm does not contain', () => {
    const bare = alarm({ reason: '', since: undefined, metric: undefined, dimensions: {} });
    const event = triggerEvent(bare, quiet);
    expect(event).toMatchObject({ payload: { summary: 'aw-gha-default-boot' } });
    expect(Object.keys(event.event_action === 'trigger' ? event.payload : {}).sort()).toEqual([
      'custom_details',
      'severity',
      'source',
      'summary',
    ]);
  });

  test.each([
    ['aws-cn', 'console.amazonaws.cn'],
    ['aws-us-gov', 'console.amazonaws-us-gov.com'],
    ['aws-eusc', 'console.amazonaws-eusc.eu'],
  ])('links to the console of its own partition: %s', (partition, host) => {
    const event = triggerEvent(alarm({ arn: ARN.replace('aws', partition) }), quiet);
    expect(event).toMatchObject({ client_url: expect.stringContaining(`https://${host}/`) });
  });

  test.each(['aws-iso', 'aws-iso-b', 'aws-new'])(
    'has no link in a partition without a known console: %s',
    (partition) => {
      const event = triggerEvent(alarm({ arn: ARN.replace('aws', partition) }), quiet);
      expect(event).not.toHaveProperty('client_url');
      expect(event).toMatchObject({ links: [] });
    },
  );

  test('stays within the limits of PagerDuty for texts of any length, and cuts no character in two', () => {
    const long = '🔥'.repeat(300_000);
    const event = triggerEvent(
      alarm({ name: '🔥'.repeat(127), reason: long, description: long, dimensions: { [long]: long } }),
      { ...quiet, group: long },
    );
    expect(Buffer.byteLength(JSON.stringify(event))).toBeLessThan(100_000);
    const summary = event.event_action === 'trigger' ? event.payload.summary : '';
    expect(summary.length).toBeLessThanOrEqual(1024);
    expect(summary.isWellFormed()).toBe(true);
    expect(summary).toMatch(/🔥…$/u);
  });

  test('has one dedup key per alarm, also where the ARN is too long for a key', () => {
    const long = `arn:aws:cloudwatch:us-west-2:210987654321:alarm:${'x'.repeat(255)}`;
    expect(dedupKey(long)).toMatch(/^[0-9a-f]{64}$/);
    expect(dedupKey(`${long}y`)).not.toBe(dedupKey(long));
    expect(dedupKey('x'.repeat(255))).toBe('x'.repeat(255));
    expect(resolveEvent(ARN)).toEqual({ event_action: 'resolve', dedup_key: ARN });
  });
});
