import { readFile } from 'node:fs/promises';
import type { Plugin } from 'esbuild';

/** A statement that registers the class of an error of the service with an SDK client. */
const REGISTRATION = /^n0_registry\.registerError\(.*\);$/gm;

/** The description of one shape or operation: an array literal of one or more lines. */
const DESCRIPTION = /^(export var \w+\$ = )(\[[^;]*\]);$/gm;

/**
 * Lets the bundler drop the descriptions of operations that a function never calls. An SDK client keeps those of all its
 * operations in one file, and two parts of it have the form of side effects:
 *
 * - Every error of the service is registered by its class, 141 of Systems Manager alone. Without its registration an error
 *   is the client's base exception with the same message and with the code on the wire as its name: `ResourceContention` instead of
 *   the class name `ResourceContentionFault`. `isAwsError` in `aws-errors.ts` accepts both, and `test/bundles/aws-errors.test.ts`
 *   compares bundles with sources.
 * - Descriptions have computed keys, which a bundler treats as side effects. They are wrapped in functions that are marked pure.
 */
export function unusedSchemas(): Plugin {
  return {
    name: 'unused-schemas',
    setup(builder) {
      const filter = /@aws-sdk[\\/]client-[^\\/]+[\\/]dist-es[\\/]schemas[\\/]schemas_0\.js$/;
      builder.onLoad({ filter }, async ({ path }) => ({
        contents: lighten(await readFile(path, 'utf8')),
        loader: 'js',
      }));
    },
  };
}

/** The same module without the registrations, and with pure descriptions. */
export function lighten(source: string): string {
  return source.replace(REGISTRATION, '').replace(DESCRIPTION, '$1/* @__PURE__ */ (() => ($2))();');
}
