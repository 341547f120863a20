import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type FunctionSpec, hasInbox, readFunctionSpecs } from '../../../shared/runtime/function-spec.ts';
import { environmentOf } from './environment.ts';
import { fill, queueNames } from './names.ts';
import type { Deployment } from './settings.ts';
import { declaredParameters } from './storage.ts';
import { makeSubscriptions } from './subscriptions.ts';

const root = resolve(import.meta.dirname, '../../..');
const specs = await readFunctionSpecs(root);

const deployment: Deployment = {
  home: { account: '111122223333', region: 'us-west-2' },
  prefix: 'aw',
  bucket: 'bucket',
  groups: [{ provider: 'gha', name: 'default', min: 0, max: 5, warmingSet: 'default' }],
  warmingSets: {
    default: { group: 'gha/warming', schedule: 'cron(0 3 * * ? *)', deadlineMinutes: 60, keep: 3 },
  },
  isScaled: true,
  buildkiteBus: 'aws.partner/buildkite.com/acme/local',
  replicaRegions: ['eu-west-1'],
  alarms: [],
  pagerDutyUrl: 'http://127.0.0.1:1',
  providers: {
    apiUrls: { gha: 'http://127.0.0.1:2', bk: 'http://127.0.0.1:3/v3', cci: 'http://127.0.0.1:4' },
    secrets: {},
  },
};
const names = queueNames(deployment, 'http://127.0.0.1:1');

/** Keeps the input of every command that it is sent. */
function recorder() {
  const inputs: Record<string, unknown>[] = [];
  return {
    inputs,
    client: {
      async send(command: { input: Record<string, unknown> }) {
        inputs.push(command.input);
      },
    } as never,
  };
}

async function listen(spec: FunctionSpec) {
  const events = recorder();
  const scheduler = recorder();
  const clients = { events: events.client, scheduler: scheduler.client };
  const made = await makeSubscriptions(clients, spec, deployment, names);
  return { rules: events.inputs, schedules: scheduler.inputs, made };
}

/** `${name}`, as function.json has it. */
const hole = (name: string) => ['$', '{', name, '}'].join('');

describe('placeholders of function.json', () => {
  test('are filled wherever they stand, with values that need escaping too', () => {
    const value = { a: [`${hole('prefix')}-`], b: { c: `x ${hole('set')} y` } };
    expect(fill(value, { prefix: 'aw', set: 'a"b\\c' })).toEqual({ a: ['aw-'], b: { c: 'x a"b\\c y' } });
  });

  test('that are unknown are an error', () => {
    expect(() => fill(hole('unknown'), {})).toThrow(/\$\{unknown\}/);
  });
});

describe.each(specs)('functions/$name', (spec) => {
  test('gets every environment value that it asks for', () => {
    const environment = environmentOf(spec, deployment, names, 'http://127.0.0.1:1');
    expect(Object.keys(environment)).toEqual(
      expect.arrayContaining(['INBOX_URL', 'DEAD_LETTER_URL', ...spec.environment]),
    );
  });

  test('has nothing left to fill in its rules and schedules', async () => {
    const { rules, schedules } = await listen(spec);
    expect(rules.length + schedules.length > 0).toBe(hasInbox(spec));
    expect(JSON.stringify({ rules, schedules })).not.toContain(hole('').slice(0, 2));
  });
});

test('a schedule for each warming set puts an event into the inbox', async () => {
  const base = specs[0];
  if (!base) throw new Error('the repository has no function');
  const { made } = await listen({
    ...base,
    name: 'warming',
    subscriptions: [
      {
        kind: 'schedule',
        name: 'run',
        schedule: hole('schedule'),
        forEach: 'warmingSets',
        input: {
          source: `\${prefix}.schedule`,
          'detail-type': 'Warming Run Due',
          detail: { set: hole('set') },
        },
      },
    ],
  });
  expect(made).toMatchObject([
    {
      name: 'aw-warming-run-default',
      expression: 'cron(0 3 * * ? *)',
      targetArn: 'arn:aws:sqs:us-west-2:111122223333:aw-warming-inbox',
    },
  ]);
  expect(JSON.parse(made[0]?.input ?? '')).toEqual({
    version: '0',
    id: '<aws.scheduler.execution-id>',
    account: '111122223333',
    region: 'us-west-2',
    time: '<aws.scheduler.scheduled-time>',
    resources: ['arn:aws:scheduler:us-west-2:111122223333:schedule/default/aw-warming-run-default'],
    source: 'aw.schedule',
    'detail-type': 'Warming Run Due',
    detail: { set: 'default' },
  });
});

test('a value that no deployment has is an error that names the file', () => {
  const [spec] = specs;
  if (!spec) throw new Error('the repository has no function');
  const withUnknown = { ...spec, environment: ['NOBODY_HAS_THIS'] };
  expect(() => environmentOf(withUnknown, deployment, names, 'http://127.0.0.1:1')).toThrow(
    /functions\/.*function\.json names NOBODY_HAS_THIS/,
  );
});

test('declares the deployment and each group', () => {
  expect(declaredParameters(deployment)).toEqual({
    '/aw/deployment': '{"customerId":"local","version":"local","hosts":["gha"]}',
    '/aw/groups/gha/default': '{"minRunners":0,"maxRunners":5,"warmingSet":"default","warming":false}',
  });
});
