import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import * as v from 'valibot';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Applied } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

/** The environment of `scripts/setup`. */
const programs = join(root, '.local/scanners/bin');
const reason = whyNoScanners();
if (reason) console.warn(`scanners do not read the module: ${reason}`);

/** Why the scanners cannot run here, or undefined. */
function whyNoScanners(): string | undefined {
  if (existsSync(join(programs, 'checkov')) && existsSync(join(programs, 'python'))) return undefined;
  if (process.env.HEARTH_REQUIRE_ALL === '1')
    throw new Error(`HEARTH_REQUIRE_ALL=1, and ${programs} has no scanners: node scripts/setup/setup.mjs`);
  return 'checkov and parliament are not installed (node scripts/setup/setup.mjs)';
}

/** A row of a table of findings: the finding, the resources that have it, and the input that removes it. */
type Row = { finding: string; resources: string[]; cure: string | undefined };

/** The tables of the page. */
const page = readFileSync(join(root, 'infra/docs/scanners.md'), 'utf8');
function rows(heading: string): Row[] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => {
      const [finding = '', , resources = '', cure = ''] = line.slice(2, -2).split(' | ');
      return {
        finding: finding.replaceAll('`', ''),
        resources: [...resources.matchAll(/`([^`]+)`/g)].map(([, one = '']) => one).sort(),
        cure: /`(\w+)/.exec(cure)?.[1],
      };
    });
}

/** An address without the name of the call and without keys. */
const shortAddress = (address: string) => address.replace(/^module\.hearth\./, '').replaceAll(/\[.+?\]/g, '');

/** Changes of the complete example: the inputs that remove findings. */
const KEY = 'arn:aws:kms:us-west-2:123456789012:key/00000000-0000-0000-0000-000000000000';
const CURES: readonly [input: string, from: RegExp, to: string][] = [
  ['kms_key_arn', /^( +access_logs += .*)$/m, `$1\n  kms_key_arn = "${KEY}"`],
  ['log_retention_days', /log_retention_days( +)= 90/, 'log_retention_days$1= 365'],
  ['exclude_oncall_alerts', /exclude_oncall_alerts( +)= true/, 'exclude_oncall_alerts$1= false'],
  ['enable_ssm_access', /enable_ssm_access( +)= true/, 'enable_ssm_access$1= false'],
];

const scanSchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    results: v.object({
      failed_checks: v.array(v.object({ check_id: v.string(), resource: v.string() })),
    }),
    summary: v.object({ passed: v.number(), parsing_errors: v.literal(0) }),
  }),
);

const planSchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    resource_changes: v.array(
      v.object({
        address: v.string(),
        change: v.object({
          after_unknown: v.union([v.boolean(), v.object({ policy: v.optional(v.unknown()) })]),
        }),
      }),
    ),
  }),
);

const policyFindingsSchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.array(
    v.object({ where: v.string(), issue: v.string(), detail: v.union([v.string(), v.array(v.string())]) }),
  ),
);

export function aboutScanners(made: Applied): void {
  describe.skipIf(reason !== undefined)('scanners', () => {
    /** Findings of checkov with the inputs of the example, and with those that remove findings. */
    const found = { stated: new Map<string, Set<string>>(), cured: new Map<string, Set<string>>() };

    beforeAll(() => {
      const folder = mkdtempSync(join(tmpdir(), 'hearth-scan-'));
      const first: Finding[] = [];
      try {
        const main = join(made.path(), 'main.tf');
        const stated = readFileSync(main, 'utf8');
        const cured = CURES.reduce((text, [, from, to]) => text.replace(from, to), stated);
        for (const [name, text] of Object.entries({ stated, cured })) {
          writeFileSync(main, text);
          // Policies contain ARNs that are known after the apply, so a plan of the applied example has all of them.
          const plan = made.run('plan', '-input=false', '-refresh=false', '-out=scan.tfplan');
          expect(plan.status, plan.stderr).toBe(0);
          const file = join(folder, `${name}.json`);
          const shown = made.run('show', '-json', 'scan.tfplan').stdout;
          writeFileSync(file, shown);
          // Where an input changes something, policies are known after the apply, and are not judged: they have what they had.
          const isUnknown = unknownPolicies(shown);
          const kept = [...first].filter(({ resource }) => isUnknown.has(resource));
          // A scan of each file: a plan has no name in the findings.
          const scanned = scan(file);
          if (name === 'stated') first.push(...scanned);
          for (const { check_id, resource } of [...scanned, ...kept])
            found[name as keyof typeof found].set(
              check_id,
              (found[name as keyof typeof found].get(check_id) ?? new Set()).add(shortAddress(resource)),
            );
        }
        writeFileSync(main, stated);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });

    /** Rows of one finding count as one. */
    const expected = (heading: string, isExpected: (row: Row) => boolean) =>
      [...Map.groupBy(rows(heading).filter(isExpected), ({ finding }) => finding)]
        .map(([finding, same]) => [finding, same.flatMap(({ resources }) => resources).sort()])
        .sort();
    const sorted = (findings: Map<string, Set<string>>) =>
      [...findings].map(([finding, resources]) => [finding, [...resources].sort()]).sort();

    test('every finding of checkov is in the table of the page, with its resources', () => {
      expect(sorted(found.stated)).toEqual(expected('checkov', () => true));
    });

    test('the inputs that the table names remove their findings', () => {
      for (const { cure } of rows('checkov').filter((row) => row.cure !== undefined))
        expect(CURES.map(([input]) => input)).toContain(cure);
      expect(sorted(found.cured)).toEqual(expected('checkov', ({ cure }) => cure === undefined));
    });

    test('every finding of parliament is in the table of the page, with its resources', () => {
      const policies = made.all.flatMap(({ address, values }) =>
        typeof values.policy === 'string' && values.policy.startsWith('{')
          ? [{ where: address, policy: values.policy }]
          : [],
      );
      expect(policies.length).toBeGreaterThan(40);
      const findings = new Map<string, Set<string>>();
      for (const { where, issue, detail } of policyFindings(policies))
        for (const one of [detail].flat()) {
          const subject = /\b[a-z0-9-]+:[A-Z]\w+\b(?!.*\b[a-z0-9-]+:[A-Z])/.exec(one)?.[0] ?? one;
          const finding = `${issue}:${subject}`;
          findings.set(finding, (findings.get(finding) ?? new Set()).add(shortAddress(where)));
        }
      expect(sorted(findings)).toEqual(expected('parliament', () => true));
    });
  });
}

type Finding = { check_id: string; resource: string };

/** Addresses of the policies of a plan that are known after the apply. */
function unknownPolicies(plan: string): Set<string> {
  const { resource_changes } = v.parse(planSchema, plan);
  return new Set(
    resource_changes.flatMap(({ address, change }) =>
      change.after_unknown === true ||
      (change.after_unknown !== false && change.after_unknown.policy === true)
        ? address
        : [],
    ),
  );
}

function scan(file: string): Finding[] {
  const { status, stdout, stderr } = spawnSync(
    join(programs, 'python'),
    [
      join(import.meta.dirname, 'every_policy.py'),
      '--framework',
      'terraform_plan',
      '--file',
      file,
      '--output',
      'json',
      '--quiet',
      '--compact',
      '--skip-download',
    ],
    { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, env: { ...process.env, LOG_LEVEL: 'ERROR' } },
  );
  // 1: there are findings.
  expect([0, 1], stderr).toContain(status);
  const { results, summary } = v.parse(scanSchema, stdout);
  expect(summary.passed).toBeGreaterThan(500);
  return results.failed_checks;
}

function policyFindings(policies: object[]): v.InferOutput<typeof policyFindingsSchema> {
  const { status, stdout, stderr } = spawnSync(
    join(programs, 'python'),
    [join(import.meta.dirname, 'policy_findings.py')],
    { encoding: 'utf8', input: JSON.stringify(policies), maxBuffer: 64 * 1024 * 1024 },
  );
  expect(status, stderr).toBe(0);
  return v.parse(policyFindingsSchema, stdout);
}
