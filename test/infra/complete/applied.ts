import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type Resource, resourcesOf } from '../state.ts';
import { canApply, type Workspace, whyNot, workspace } from '../terraform.ts';

/** Folder of the complete example, below `infra/`. */
const folder = 'examples/complete';

/** Name of the bucket in the complete example. */
export const bucket = 'aw-snapshots-123456789012-us-west-2';

/** Why the complete example cannot be applied here, or undefined. */
export const reason =
  whyNot() ?? (canApply ? undefined : 'an apply needs an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`the tests of the applied example are skipped: ${reason}`);

/** The applied complete example. Tests may use its members; code that collects tests must not. */
export type Applied = {
  /** Runs terraform in the example's folder. */
  run(...args: string[]): ReturnType<Workspace['run']>;
  /** The example's folder. */
  path(): string;
  /** `terraform show -json`. */
  state: string;
  all: Resource[];
  /** Resources of one type. */
  of(type: string): Resource[];
  /** Resources of one type that belong to one function. */
  inFunction(type: string, name: string): Resource[];
};

/** Applies the complete example before the tests of a file, and removes it after them. */
export function applied(): Applied {
  let space: Workspace | undefined;
  const of = (type: string) => made.all.filter((resource) => resource.type === type);
  const workspaceOf = () => {
    if (!space) throw new Error('the example is not applied before the first test');
    return space;
  };
  const made: Applied = {
    run: (...args) => workspaceOf().run(folder, ...args),
    path: () => join(workspaceOf().path, 'infra', folder),
    state: '',
    all: [],
    of,
    inFunction: (type, name) =>
      of(type).filter(({ address }) => address.includes(`module.function["${name}"]`)),
  };
  beforeAll(() => {
    space = workspace();
    space.must(folder, 'init', '-backend=false', '-input=false');
    space.must(folder, 'apply', '-auto-approve', '-input=false');
    made.state = space.must(folder, 'show', '-json');
    made.all = resourcesOf(made.state);
  });
  afterAll(() => space?.remove());
  return made;
}
