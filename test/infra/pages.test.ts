import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canApply, terraformIn, type Workspace, whyNot, workspace } from './terraform.ts';

const reason =
  whyNot() ??
  (canApply ? undefined : 'a plan needs an AWS account, or an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`module calls in docs are not planned: ${reason}`);

const root = resolve(import.meta.dirname, '../..');

/** Complete module calls in docs. Each must plan without changes. */
const calls = ['infra/README.md', 'docs/from-aspect-workflows.md'].flatMap((page) =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/^```hcl\n(module .*?)^```$/gms)].map(
    ([, text = ''], index) => ({ title: `${page}, ${index + 1}`, text }),
  ),
);

describe.skipIf(reason !== undefined)('module calls in docs', () => {
  let space: Workspace;
  beforeAll(() => {
    space = workspace();
  });
  afterAll(() => space.remove());

  test('there are three', () => expect(calls.length).toBe(3));

  test.each(calls)('$title plans and is formatted', ({ title, text }) => {
    const folder = join(space.path, title.replace(/\W+/g, '-'));
    mkdirSync(folder);
    symlinkSync(space.path, join(folder, 'hearth'));
    writeFileSync(join(folder, 'main.tf'), text);
    writeFileSync(join(folder, 'provider.tf'), 'provider "aws" {\n  region = "us-west-2"\n}\n');
    for (const args of [
      ['init', '-backend=false', '-input=false'],
      ['fmt', '-check'],
      ['plan', '-input=false'],
    ]) {
      const { status, stdout, stderr } = terraformIn(folder, ...args);
      expect(status, `${stdout}\n${stderr}`).toBe(0);
    }
  });
});
