import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** The terraform to test with; the usual one, unless the environment names another. */
const program = process.env.HEARTH_TERRAFORM ?? 'terraform';

/** A copy of the module with all that it finds beside itself, so that nothing terraform writes ends up in the repository. */
export type Workspace = {
  /** Runs terraform in a folder below `infra/`. */
  run(folder: string, ...args: string[]): SpawnSyncReturns<string>;
  /** The same, and throws with terraform's own words unless it succeeds. */
  must(folder: string, ...args: string[]): string;
  path: string;
  remove(): void;
};

/** Runs terraform in a folder, whatever comes of it. */
export function terraformIn(folder: string, ...args: string[]): SpawnSyncReturns<string> {
  const done = spawnSync(program, [`-chdir=${folder}`, ...args], {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, TF_IN_AUTOMATION: '1', AWS_EC2_METADATA_DISABLED: 'true' },
  });
  if (done.error) throw done.error;
  return done;
}

/** @param options.bundles false: the copy is a checkout that nobody has built */
export function workspace(options: { bundles?: boolean } = {}): Workspace {
  if (!existsSync(join(root, 'dist/functions')))
    throw new Error('dist/ is missing: run `npm run build` first');
  const path = mkdtempSync(join(tmpdir(), 'hearth-infra-'));
  const skipped = /^(\.terraform.*|.*\.tfstate.*)$/;
  cpSync(join(root, 'infra'), join(path, 'infra'), {
    recursive: true,
    filter: (from) => !skipped.test(basename(from)),
  });
  cpSync(join(root, 'functions'), join(path, 'functions'), {
    recursive: true,
    filter: (from) => !/\.(ts|md)$/.test(from),
  });
  // A copy too: another build may replace the original at any moment.
  if (options.bundles !== false) {
    cpSync(join(root, 'dist'), join(path, 'dist'), {
      recursive: true,
      filter: (from) => !/(\.meta\.json|hearth-.*\.zip)$/.test(basename(from)),
    });
  }
  const run = (folder: string, ...args: string[]) => terraformIn(join(path, 'infra', folder), ...args);
  return {
    path,
    run,
    must(folder, ...args) {
      const { status, stdout, stderr } = run(folder, ...args);
      if (status !== 0) throw new Error(`terraform ${args.join(' ')} in ${folder}: ${stdout}\n${stderr}`);
      return stdout;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/**
 * Why the tests of the module cannot run here, or undefined. Where everything has to run (`CI=true`) there is no reason: what
 * is missing then fails.
 */
export function whyNot(): string | undefined {
  if (process.env.CI === 'true') return undefined;
  const found = spawnSync(program, ['version'], { encoding: 'utf8' });
  if (found.error || found.status !== 0) return `${program} cannot be run`;
  // With the providers alone: a mistake in the module has to fail tests, not to skip them.
  const folder = mkdtempSync(join(tmpdir(), 'hearth-providers-'));
  try {
    cpSync(join(root, 'infra/versions.tf'), join(folder, 'versions.tf'));
    const init = terraformIn(folder, 'init', '-backend=false', '-input=false', '-no-color');
    return init.status === 0 ? undefined : `terraform init fails here: ${init.stderr.trim().slice(0, 300)}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Applying needs an account, or a provider that only pretends. Never apply tests with a real one.
 */
export const canApply = process.env.HEARTH_TERRAFORM !== undefined;
