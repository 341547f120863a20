import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const group = resolve(import.meta.dirname, '../../infra/modules/runner-group');
const runner = resolve(import.meta.dirname, '../../infra/runner');
const program = process.env.HEARTH_TERRAFORM ?? 'terraform';

/** Why user data cannot be rendered here, or undefined. Rendering needs Terraform and no provider. */
export function whyNoTerraform(): string | undefined {
  const { status } = spawnSync(program, ['version']);
  if (status === 0) return undefined;
  if (process.env.HEARTH_REQUIRE_ALL === '1')
    throw new Error(`HEARTH_REQUIRE_ALL=1, and ${program} cannot be run`);
  return `${program} cannot be run`;
}

/**
 * The user data of a runner group: the block `locals` of its module, evaluated without the rest of the module.
 *
 * @param change variables of the module that differ from the defaults below
 */
export function rendered(change: object = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-render-'));
  try {
    const main = readFileSync(join(group, 'main.tf'), 'utf8');
    const locals = /^locals \{\n.*?^\}\n/ms.exec(main)?.[0];
    if (locals === undefined) throw new Error(`${group}/main.tf has no block locals`);
    writeFileSync(
      join(folder, 'main.tf'),
      locals
        .replaceAll(/^ {2}runner_folder = .*$/gm, `  runner_folder = ${JSON.stringify(runner)}`)
        .replaceAll('data.aws_region.current.region', '"us-east-1"')
        .replaceAll(/\bvar\./g, 'local.given.'),
    );
    writeFileSync(
      join(folder, 'given.tf.json'),
      JSON.stringify({ locals: { given: { ...given, ...change } } }),
    );
    const { status, stdout, stderr } = spawnSync(program, [`-chdir=${folder}`, 'console'], {
      // Base64 contains no character that the console quotes.
      input: 'base64encode(local.user_data.real)\n',
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`terraform console: ${stdout}${stderr}`);
    const base64 = /^"([A-Za-z0-9+/=]+)"\s*$/.exec(stdout)?.[1];
    if (base64 === undefined) throw new Error(`terraform console printed ${stdout}${stderr}`);
    return Buffer.from(base64, 'base64').toString('utf8');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const given = {
  name: 'aw-gha-default',
  name_prefix: 'aw',
  group_id: 'gha/default',
  resource_type: { tags: {} },
  group_tags: {},
  tags: {},
  bucket_name: 'aw-snapshots',
  reports: { url: 'https://sqs.us-east-1.amazonaws.com/123456789012/aw-reports' },
  idle_timeout_min: 10,
  agent: { driver: 'gha' },
  boots_set: 'default',
  paths: [],
  lazy: 'never',
  cache: null,
  warming: null,
  writes_snapshots: false,
  jobs: { isolation: 'shared' },
  drain_timeout_min: null,
  registration: null,
  runner: { key: 'tools/aw-runner.mjs', sha256: '0'.repeat(64) },
};
