import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { recipes } from '../support/recipes.ts';
import { canApply, terraformIn, type Workspace, whyNot, workspace } from './terraform.ts';

const reason =
  whyNot() ??
  (canApply ? undefined : 'a plan needs an AWS account, or an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`module calls in docs are not planned: ${reason}`);

const root = resolve(import.meta.dirname, '../..');

/** Complete module calls in docs. Each must plan without changes. */
const calls = [
  'infra/README.md',
  'docs/from-aspect-workflows.md',
  'docs/from-terraform-aws-github-runner.md',
].flatMap((page) =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/^```hcl\n(module .*?)^```$/gms)].map(
    ([, text = ''], index) => ({ title: `${page}, ${index + 1}`, text }),
  ),
);

/** One call with all recipes as sets. Each has a group that makes its snapshots, so that instances get what it names. */
const sets = recipes();
const groups = sets.map(
  ({ name }) =>
    `    ${name} = { max_runners = 1, queue = "warming", gh_repo = "acme/app", resource_type = "default", warming_set = "${name}", policies = { warming_manage = "${name}" } }\n`,
);
const call = `module "hearth" {
  source         = "./hearth/infra"
  customer_id    = "acme"
  vpc_id         = "vpc-00000000000000000"
  vpc_subnets    = ["subnet-00000000000000001"]
  hosts          = ["gha"]
  resource_types = { default = { instance_types = ["c6id.4xlarge"], image_id = "ami-00000000000000000" } }
  warming_sets = {
${sets.map(({ text }) => text.replaceAll(/^(?=.)/gm, '    ')).join('')}  }
  gha_runner_groups = {
${groups.join('')}  }
}
`;

describe.skipIf(reason !== undefined)('module calls in docs', () => {
  let space: Workspace;
  beforeAll(() => {
    space = workspace();
  });
  afterAll(() => space.remove());

  test('there are four', () => expect(calls.length).toBe(4));

  test('the recipes of the page about warming plan together', () => {
    expect(sets.length).toBeGreaterThan(6);
    planned('recipes', call, ['init', 'plan']);
  });

  test.each(calls)('$title plans and is formatted', ({ title, text }) =>
    planned(title, text, ['init', 'fmt', 'plan']),
  );

  function planned(title: string, text: string, commands: readonly string[]): void {
    const folder = join(space.path, title.replace(/\W+/g, '-'));
    mkdirSync(folder);
    symlinkSync(space.path, join(folder, 'hearth'));
    writeFileSync(join(folder, 'main.tf'), text);
    writeFileSync(join(folder, 'provider.tf'), 'provider "aws" {\n  region = "us-west-2"\n}\n');
    const options: Record<string, string[]> = {
      init: ['-backend=false', '-input=false'],
      fmt: ['-check'],
      plan: ['-input=false'],
    };
    for (const command of commands) {
      const { status, stdout, stderr } = terraformIn(folder, command, ...(options[command] ?? []));
      expect(status, `${stdout}\n${stderr}`).toBe(0);
    }
  }
});
