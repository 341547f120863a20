import { afterAll, beforeAll } from 'vitest';
import { type Resource, resourcesOf } from '../state.ts';
import { canApply, type Workspace, whyNot, workspace } from '../terraform.ts';

/** Where the complete example is, below `infra/`. */
const folder = 'examples/complete';

/** The bucket's name in it. */
export const bucket = 'aw-snapshots-123456789012-us-west-2';

/** Why the complete example cannot be applied here, or undefined. */
export const reason =
  whyNot() ?? (canApply ? undefined : 'applying needs a terraform in HEARTH_TERRAFORM that only pretends');
if (reason) console.warn(`the tests of the applied example are skipped: ${reason}`);

/** What the complete example came to. Its members may be used in tests, not while they are collected. */
export type Applied = {
  /** Runs terraform in the example's folder. */
  run(...args: string[]): ReturnType<Workspace['run']>;
  /** `terraform show -json`. */
  state: string;
  all: Resource[];
  /** Resources of a type. */
  of(type: string): Resource[];
  /** Those that belong to one function. */
  inFunction(type: string, name: string): Resource[];
};

/** Applies the complete example before the tests of this file, and removes it after them. */
export function applied(): Applied {
  let space: Workspace | undefined;
  const of = (type: string) => made.all.filter((resource) => resource.type === type);
  const made: Applied = {
    run(...args) {
      if (!space) throw new Error('the example is applied before the first test, not earlier');
      return space.run(folder, ...args);
    },
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
