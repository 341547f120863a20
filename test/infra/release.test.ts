import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { unzipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packRelease } from '../../scripts/package/release.ts';
import { canApply, terraformIn, whyNot } from './terraform.ts';

const root = resolve(import.meta.dirname, '../..');
const reason =
  whyNot() ??
  (canApply ? undefined : 'a plan needs an AWS account, or an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`the plan of the release archive is skipped: ${reason}`);

// The unpacked archive beside a configuration, without the rest of the repository.
describe.skipIf(reason !== undefined)('the release archive, unpacked', () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hearth-unpacked-'));
    const { zip } = await packRelease({ root, dist: join(root, 'dist') });
    for (const [path, bytes] of Object.entries(unzipSync(zip))) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), bytes);
    }
    const example = readFileSync(join(root, 'infra/examples/github/main.tf'), 'utf8');
    // With the function that is off by default.
    const main = example.replace('source = "../.."', 'source = "./hearth/infra"\n\n  enable_webhooks = true');
    expect(main).not.toBe(example);
    writeFileSync(join(folder, 'main.tf'), main);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('plans with the checksums of bundles.json', () => {
    const terraform = (...args: string[]) => {
      const { status, stdout, stderr } = terraformIn(folder, ...args);
      expect(status, stderr).toBe(0);
      return stdout;
    };
    terraform('init', '-backend=false', '-input=false');
    terraform('plan', '-input=false', '-out=release.tfplan');
    const { resource_changes } = JSON.parse(terraform('show', '-json', 'release.tfplan'));
    const planned: Record<string, string> = {};
    for (const { type, index, change, module_address } of resource_changes) {
      const name = /function\["(.+)"\]/.exec(module_address ?? '')?.[1];
      if (type === 'aws_lambda_function' && name) planned[name] = change.after.source_code_hash;
      if (type === 'aws_s3_object' && index === 0) planned.runner = change.after.source_hash;
    }
    const bundles = JSON.parse(readFileSync(join(folder, 'hearth/dist/bundles.json'), 'utf8'));
    const functions = Object.entries<{ code_sha256: string }>(bundles.functions);
    expect(planned).toEqual({
      runner: bundles.runner.sha256,
      ...Object.fromEntries(functions.map(([name, { code_sha256 }]) => [name, code_sha256])),
    });
    expect(functions.length).toBeGreaterThan(0);
  });
});
