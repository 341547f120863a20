import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Resource, resourcesOf } from './state.ts';
import { canApply, terraformIn, type Workspace, whyNot, workspace } from './terraform.ts';

const reason = whyNot() ?? (canApply ? undefined : 'an apply needs an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`the steps of the setup page are not tested: ${reason}`);

const page = resolve(import.meta.dirname, '../../infra/docs/setup.md');

/** A key in the format of PagerDuty that was never issued. */
const key = 'R0UT1NGK3YF0RTHEWALKTHATN0B0DYHAS';

/** Terraform blocks of the page, in order. The first line of each block names its file. */
const steps = [...readFileSync(page, 'utf8').matchAll(/^```hcl\n(.*?)^```$/gms)].map(
  ([, text = ''], index) => ({
    title: `${index + 1}: ${/^# (\S+)\n/.exec(text)?.[1] ?? 'a block without a file name'}`,
    file: /^# ([a-z]+\.tf)\n/.exec(text)?.[1],
    text,
  }),
);

describe.skipIf(reason !== undefined)('steps of the setup page', () => {
  let space: Workspace;
  let folder: string;
  let all: Resource[];
  const must = (...args: string[]): string => {
    const { status, stdout, stderr } = terraformIn(folder, ...args);
    expect(status, `terraform ${args[0]}: ${stdout}\n${stderr}`).toBe(0);
    return stdout;
  };
  const one = (type: string, name: string) =>
    all.filter((resource) => resource.type === type && resource.address.includes(name))[0]?.values;

  beforeAll(() => {
    process.env.TF_VAR_pagerduty_key = key;
    space = workspace();
    folder = join(space.path, 'walk');
    mkdirSync(folder);
    symlinkSync(space.path, join(folder, 'hearth'));
  });
  afterAll(() => {
    delete process.env.TF_VAR_pagerduty_key;
    space.remove();
  });

  test.each(steps)('step $title plans and applies', ({ file, text }) => {
    expect(file).toBeDefined();
    writeFileSync(join(folder, file ?? ''), text);
    must('init', '-backend=false', '-input=false');
    must('plan', '-input=false', '-out=step.tfplan');
    must('apply', '-input=false', 'step.tfplan');
  });

  test('result in the state that the page describes', () => {
    expect(steps.length).toBeGreaterThan(8);
    must('fmt', '-check');
    const state = must('show', '-json');
    all = resourcesOf(state);
    expect(state).not.toContain(key);
    expect(one('aws_secretsmanager_secret_version', 'pagerduty')).toMatchObject({
      secret_id: one('aws_secretsmanager_secret', 'pagerduty')?.id,
    });
    for (const [role, policies] of [
      ['ci-support', 1],
      ['ci-operator', 2],
    ] as const) {
      const attached = all.filter(
        ({ type, values }) => type === 'aws_iam_role_policy_attachment' && values.role === role,
      );
      expect(attached, role).toHaveLength(policies);
    }
    expect(one('aws_launch_template', 'gha/default')?.tags).toMatchObject({
      'cost-center': 'build-platform',
      environment: 'ci',
      size: 'large',
      team: 'build',
    });
    // The alarm that the page triggers by hand, and the tags that the function alarms reads.
    expect(one('aws_cloudwatch_metric_alarm', '"launch-failures-gha-warming"')).toMatchObject({
      alarm_name: 'aw-launch-failures-gha-warming',
      tags: { 'hearth:severity': 'critical' },
    });
  });

  test('a second apply changes nothing', () => {
    expect(terraformIn(folder, 'plan', '-input=false', '-detailed-exitcode').status).toBe(0);
  });
});
