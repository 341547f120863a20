import { readFile } from 'node:fs/promises';
import type { Plugin } from 'esbuild';

/** A statement that makes an SDK client know one of its service's errors by its class. */
const REGISTRATION = /^n0_registry\.registerError\(.*\);$/gm;

/** The description of one shape or operation: an array literal of one or more lines. */
const DESCRIPTION = /^(export var \w+\$ = )(\[[^;]*\]);$/gm;

/**
 * Lets the bundler drop the descriptions of operations that a function never calls. An SDK client keeps those of all its
 * operations in one file, and two things there look as if they did something:
 *
 * - Every error of the service is registered by its class, 141 of Systems Manager alone. Without its registration an error
 *   arrives as the client's base exception with the same name and message, and by its name is how this project tells errors
 *   apart. Where a service has two words for one error, the name is the one on the wire: `ResourceContention` of Auto
 *   Scaling, which `aws-errors.ts` knows.
 * - Descriptions have computed keys, which a bundler must take for code. They are wrapped in functions that are marked pure.
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

/** The same module, without what only looks used. */
export function lighten(source: string): string {
  return source.replace(REGISTRATION, '').replace(DESCRIPTION, '$1/* @__PURE__ */ (() => ($2))();');
}
