import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canApply, terraformIn, type Workspace, whyNot, workspace } from './terraform.ts';

const reason =
  whyNot() ??
  (canApply ? undefined : 'a plan needs an AWS account, or an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`configurations of Aspect Workflows are not planned: ${reason}`);

const root = resolve(import.meta.dirname, '../..');
const fixtures = join(root, 'test/fixtures/aspect-workflows');

/** An input or attribute that the edit removes or adds, and whether it is part of the module call. */
type Edit = { name: string; ofCall: boolean };
type Configuration = { id: string; stated: string; edited: string; edits: Edit[]; supported: boolean };

/**
 * The configurations, before and after their edits. `# edit: remove` at the end of a line removes that argument or block;
 * `# edit: add <argument>` adds one.
 */
const configurations = readdirSync(fixtures).map((file): Configuration => {
  const text = readFileSync(join(fixtures, file), 'utf8');
  const title = text.slice(0, text.indexOf('\n'));
  const { edited, edits } = edit(text, () => true);
  return {
    id: basename(file, '.tf'),
    // Terraform ends before the rules of the module where another resource reads an output that does not exist.
    stated: edit(text, ({ ofCall }) => !ofCall).edited,
    edited,
    edits,
    supported: !title.includes('not supported'),
  };
});
const supported = configurations.filter((one) => one.supported);

function edit(text: string, isMade: (edit: Edit) => boolean): { edited: string; edits: Edit[] } {
  const edits: Edit[] = [];
  const kept: string[] = [];
  let depth = 0;
  for (const line of text.split('\n')) {
    const [, added] = /# edit: add (.+)$/.exec(line) ?? [];
    const [, name] = /^ *(?:resource )?"?([\w.]+)"?.*# edit: remove$/.exec(line) ?? [];
    const made: Edit = {
      name: added?.split(' ')[0] ?? name ?? '',
      ofCall: line.startsWith(' '),
    };
    if (depth > 0) depth += balance(line);
    else if (added && isMade(made)) kept.push(added);
    else if (name && isMade(made)) depth = balance(line);
    else kept.push(line);
    if (added || name) edits.push(made);
  }
  return { edited: kept.join('\n'), edits };
}

/** Opened less closed brackets. */
function balance(line: string): number {
  return [...line].reduce((sum, one) => sum + ('{[('.includes(one) ? 1 : '}])'.includes(one) ? -1 : 0), 0);
}

type Diagnostic = { severity: string; detail: string };

/** Plans a configuration and returns what terraform reports. */
function plan(path: string, ...args: string[]): { status: number | null; diagnostics: Diagnostic[] } {
  const init = terraformIn(path, 'init', '-backend=false', '-input=false', '-no-color');
  expect(init.status, init.stderr).toBe(0);
  const { status, stdout } = terraformIn(path, 'plan', '-input=false', '-json', ...args);
  const diagnostics = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ type }) => type === 'diagnostic')
    .map(({ diagnostic }): Diagnostic => diagnostic);
  return { status, diagnostics };
}

/** Only the rules about inputs: a plan of all resources takes much longer. */
const RULES = ['names', 'values', 'inputs', 'aws'].map(
  (name) => `-target=module.workflows.terraform_data.${name}`,
);

const textOf = (diagnostics: readonly Diagnostic[], severity: string) =>
  diagnostics
    .filter((one) => one.severity === severity)
    .map(({ detail }) => detail)
    .join('\n');

describe('the edits of configurations of Aspect Workflows', () => {
  test('are the number that the migration page names', () => {
    const page = readFileSync(join(root, 'docs/from-aspect-workflows.md'), 'utf8');
    const rows = [...page.matchAll(/^\| (\S+) \| ([0-9]+|not supported) \| (.*) \|$/gm)];
    const expected = configurations.map(({ id, edits, supported }) => [
      id,
      supported ? `${edits.length}` : 'not supported',
    ]);
    expect(rows.map(([, id, edits]) => [id, edits])).toEqual(expected);
    for (const [, id, , text] of rows)
      for (const { name } of configurations.find((one) => one.id === id)?.edits ?? [])
        expect(text, id).toContain(`\`${name}\``);
  });

  test('are at most two in nine configurations', () => {
    const few = supported.filter(({ edits }) => edits.length <= 2);
    expect(few.length).toBeGreaterThanOrEqual(9);
  });
});

describe.skipIf(reason !== undefined)('configurations of Aspect Workflows', () => {
  let space: Workspace;
  beforeAll(() => {
    space = workspace();
  });
  afterAll(() => space.remove());

  const stated = ({ id, stated: text }: Configuration) => {
    const path = join(space.path, id);
    mkdirSync(path);
    writeFileSync(join(path, 'main.tf'), text.replace('HEARTH_INFRA', '../infra'));
    return plan(path, ...RULES);
  };

  test.each(supported)('$id: one plan names each edit, and nothing else', (configuration) => {
    const { status, diagnostics } = stated(configuration);
    const text = textOf(diagnostics, 'error');
    const names = new Set(configuration.edits.filter(({ ofCall }) => ofCall).map(({ name }) => name));
    for (const name of names) expect(text).toContain(name);
    expect(diagnostics.filter(({ severity }) => severity === 'error').length).toBeLessThanOrEqual(names.size);
    expect(status).toBe(names.size > 0 ? 1 : 0);
  });

  test.each(configurations.filter((one) => !one.supported))(
    '$id: the plan says that this is not supported',
    (configuration) => {
      expect(textOf(stated(configuration).diagnostics, 'error')).toMatch(
        /GitLab is not supported yet|for the module of Aspect Workflows for Google Cloud/,
      );
    },
  );

  // One configuration with a module per file, so that one plan has all of them.
  test('all plan after their edits, with a warning about each input without effect', () => {
    const path = join(space.path, 'edited');
    for (const [index, { edited }] of supported.entries()) {
      mkdirSync(join(path, `c${index}`), { recursive: true });
      writeFileSync(join(path, `c${index}/main.tf`), edited.replace('HEARTH_INFRA', '../../infra'));
    }
    const calls = supported.map((_, index) => `module "c${index}" {\n  source = "./c${index}"\n}\n`);
    writeFileSync(join(path, 'main.tf'), `provider "aws" {\n  region = "us-west-2"\n}\n${calls.join('')}`);
    const { status, diagnostics } = plan(path);
    expect(textOf(diagnostics, 'error')).toBe('');
    expect(status).toBe(0);
    const warnings = textOf(diagnostics, 'warning');
    for (const text of [
      'aspect_artifacts_bucket (the bundles are in dist',
      'Warming sets that get no snapshots:',
    ])
      expect(warnings.split(text), text).toHaveLength(supported.length + 1);
  }, 600_000);
});
