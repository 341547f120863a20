import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** The terraform program: `terraform`, or the program in HEARTH_TERRAFORM. */
const program = process.env.HEARTH_TERRAFORM ?? 'terraform';

/** A copy of the module and of the folders beside it, so that terraform does not write into the repository. */
export type Workspace = {
  /** Runs terraform in a folder below `infra/`. */
  run(folder: string, ...args: string[]): SpawnSyncReturns<string>;
  /** Runs terraform like `run`, and throws with its output if it fails. */
  must(folder: string, ...args: string[]): string;
  /** The value of an expression of the module in a folder, as `terraform console` prints it. */
  asked(folder: string, expression: string): string;
  path: string;
  remove(): void;
};

/** Runs terraform in a folder and returns the result, including failures. */
export function terraformIn(folder: string, ...args: string[]): SpawnSyncReturns<string> {
  return terraformWith('', folder, ...args);
}

function terraformWith(input: string, folder: string, ...args: string[]): SpawnSyncReturns<string> {
  const done = spawnSync(program, [`-chdir=${folder}`, ...args], {
    encoding: 'utf8',
    input,
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, TF_IN_AUTOMATION: '1', AWS_EC2_METADATA_DISABLED: 'true' },
  });
  if (done.error) throw done.error;
  return done;
}

/** @param options.bundles false: the copy has no dist folder, like a checkout before the build */
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
  // A copy, because another build may replace the original during the test.
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
    asked(folder, expression) {
      const { status, stdout, stderr } = terraformWith(expression, join(path, 'infra', folder), 'console');
      if (status !== 0) throw new Error(`terraform console in ${folder}: ${stdout}\n${stderr}`);
      return stdout;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/**
 * Why tests of the module cannot run here, or undefined. With `CI=true` the result is always undefined, so a missing program
 * makes tests fail.
 */
export function whyNot(): string | undefined {
  if (process.env.CI === 'true') return undefined;
  const found = spawnSync(program, ['version'], { encoding: 'utf8' });
  if (found.error || found.status !== 0) return `${program} cannot be run`;
  // Only the providers are initialised. A mistake in the module must fail tests, not skip them.
  const folder = mkdtempSync(join(tmpdir(), 'hearth-providers-'));
  try {
    cpSync(join(root, 'infra/versions.tf'), join(folder, 'versions.tf'));
    const init = terraformIn(folder, 'init', '-backend=false', '-input=false', '-no-color');
    return init.status === 0 ? undefined : `terraform init fails here: ${init.stderr.trim().slice(0, 300)}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether an apply is possible: only with an offline provider, never with a real account. */
export const canApply = process.env.HEARTH_TERRAFORM !== undefined;
