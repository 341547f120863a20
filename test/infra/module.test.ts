import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canApply, type Workspace, whyNot, workspace } from './terraform.ts';

const reason = whyNot();
if (reason) console.warn(`tests of the Terraform module are skipped: ${reason}`);

describe.skipIf(reason !== undefined)('the module', () => {
  let space: Workspace;
  beforeAll(() => {
    space = workspace();
    space.must('.', 'init', '-backend=false', '-input=false');
  });
  afterAll(() => space.remove());

  test('is formatted and valid', () => {
    expect(space.run('.', 'fmt', '-check', '-recursive').stdout).toBe('');
    space.must('.', 'validate');
  });

  // A hundred plans of the whole module, one after the other.
  test('passes its own tests', () => {
    expect(space.must('.', 'test', '-no-color')).toMatch(/Success! \d+ passed, 0 failed/);
  });

  // A plan calls STS for the caller identity. `terraform test` does not.
  test.skipIf(!canApply)('a missing bundle is reported in the plan', () => {
    const unbuilt = workspace({ bundles: false });
    try {
      unbuilt.must('examples/github', 'init', '-backend=false', '-input=false');
      const { status, stderr } = unbuilt.run('examples/github', 'plan', '-input=false', '-no-color');
      expect(status).toBe(1);
      const message = stderr.replaceAll(/[\s│]+/g, ' ');
      expect(message).toContain('functions/lifecycle.zip is missing. Run `npm ci && npm run build`');
      expect(message).toContain('aw-runner.mjs is missing. Run `npm ci && npm run build`');
    } finally {
      unbuilt.remove();
    }
  });
});
