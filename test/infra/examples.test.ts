import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canApply, type Workspace, whyNot, workspace } from './terraform.ts';

const reason =
  whyNot() ??
  (canApply ? undefined : 'plans need an account, or HEARTH_TERRAFORM with one that only pretends');
if (reason) console.warn(`plans of the examples are skipped: ${reason}`);

test('the tests of the module plan every example', () => {
  const infra = join(import.meta.dirname, '../../infra');
  const plans = readFileSync(join(infra, 'tests/examples.tftest.hcl'), 'utf8');
  for (const name of readdirSync(join(infra, 'examples')))
    expect(plans).toContain(`source = "./examples/${name}"`);
});

describe.skipIf(reason !== undefined)('examples', () => {
  let space: Workspace;
  beforeAll(() => {
    space = workspace();
  });
  afterAll(() => space.remove());

  test('a renamed group, a new set and a removed set change only their own resources', () => {
    const folder = 'examples/github';
    const main = join(space.path, 'infra', folder, 'main.tf');
    const original = readFileSync(main, 'utf8');
    space.must(folder, 'init', '-backend=false', '-input=false');
    space.must(folder, 'apply', '-auto-approve', '-input=false');
    // The example does not enable SSM access, so no role may have permissions for sessions.
    expect(space.must(folder, 'show', '-json')).not.toMatch(/ssmmessages|StartSession/);
    const changes = (source: string) => {
      expect(source).not.toBe(original);
      writeFileSync(main, source);
      space.must(folder, 'plan', '-input=false', '-out=changed.tfplan');
      const { resource_changes } = JSON.parse(space.must(folder, 'show', '-json', 'changed.tfplan'));
      return resource_changes.flatMap(
        ({ address, change }: { address: string; change: { actions: string[] } }) =>
          change.actions
            .filter((action) => /create|delete/.test(action))
            .map((action) => `${action} ${address}`),
      );
    };
    try {
      const renamed = changes(
        original.replace(
          '    default = {\n      max_runners   = 20',
          '    main = {\n      max_runners   = 20',
        ),
      );
      expect(renamed).toEqual(
        expect.arrayContaining([
          'delete module.hearth.module.runner_group["gha/default"].aws_autoscaling_group.this',
          'create module.hearth.module.runner_group["gha/main"].aws_autoscaling_group.this',
        ]),
      );
      for (const change of renamed) expect(change).toMatch(/gha\/(default|main)|gha-(default|main)/);

      const added = changes(
        original.replace('  warming_sets = {\n', '  warming_sets = {\n    nightly = {}\n'),
      );
      expect(added).toEqual(['create module.hearth.module.warming.aws_iam_policy.manage["nightly"]']);

      const removed = changes(
        original
          .replace(/warming_sets = \{\n.*?\n {2}\}/s, 'warming_sets = {}')
          .replace(/ +warming +=.*\n/, '')
          .replace(/ +policies +=.*\n/, ''),
      );
      expect(removed).toContain('delete module.hearth.module.warming.aws_iam_policy.manage["default"]');
      expect(removed.filter((change: string) => /aws_s3_bucket|autoscaling|secret/.test(change))).toEqual([]);
    } finally {
      writeFileSync(main, original);
    }
  });

  test('an apply deploys changed code only', () => {
    const folder = 'examples/buildkite';
    const dist = join(space.path, 'dist');
    space.must(folder, 'init', '-backend=false', '-input=false');
    space.must(folder, 'apply', '-auto-approve', '-input=false');
    expect(space.run(folder, 'plan', '-input=false', '-detailed-exitcode').status).toBe(0);
    writeFileSync(join(dist, 'functions/alarms.zip'), 'another');
    space.must(folder, 'plan', '-input=false', '-out=code.tfplan');
    const { resource_changes } = JSON.parse(space.must(folder, 'show', '-json', 'code.tfplan'));
    const changed = resource_changes
      .filter(({ change }: { change: { actions: string[] } }) => change.actions.join() !== 'no-op')
      .map(({ address }: { address: string }) => address)
      .filter((address: string) => address.endsWith('aws_lambda_function.this'));
    expect(changed).toEqual(['module.hearth.module.function["alarms"].aws_lambda_function.this']);
  });
});
