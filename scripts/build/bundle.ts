import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';
import { replacedModules } from './replaced-modules.ts';
import { unusedSchemas } from './unused-schemas.ts';

/** One function as a single CommonJS file. */
export type Bundle = { code: Uint8Array; metafile: Metafile };

/**
 * Bundles one function's handler.
 *
 * CommonJS rather than ES modules, since importing a builtin from an ES module makes Node build a facade of all its
 * exports; `module` before `main`, so that the SDK's tree-shakable files are taken instead of its CommonJS ones.
 *
 * @param root the repository
 * @param name folder below `functions/`
 */
export async function bundleFunction(root: string, name: string): Promise<Bundle> {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [join('functions', name, 'handler.ts')],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    mainFields: ['module', 'main'],
    minify: true,
    legalComments: 'none',
    // The SDK imports some builtins when it needs them. From CommonJS that starts Node's loader of ES modules, and for
    // node:http a facade that loads all of fetch: 13 ms at the first call.
    supported: { 'dynamic-import': false },
    logLevel: 'warning',
    // Powertools, middy and the SDK read NODE_ENV at import. The build fixes its value.
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins: [replacedModules(), lightPackageJson(), lightPartitions(), unusedSchemas()],
  });
  const [output] = result.outputFiles;
  if (!output) throw new Error(`esbuild made no output for ${name}`);
  return { code: output.contents, metafile: result.metafile };
}

/** SDK clients import their whole package.json for one field: the version in the user agent. */
function lightPackageJson(): Plugin {
  return {
    name: 'light-package-json',
    setup(builder) {
      builder.onLoad({ filter: /node_modules[\\/].*[\\/]package\.json$/ }, async ({ path }) => {
        const { version } = JSON.parse(await readFile(path, 'utf8'));
        return { contents: JSON.stringify({ version }), loader: 'json' };
      });
    },
  };
}

/**
 * The SDK lists every region of every partition with its description. The pattern beside each list finds the same partition, so the lists are
 * left out.
 */
function lightPartitions(): Plugin {
  return {
    name: 'light-partitions',
    setup(builder) {
      builder.onLoad(
        { filter: /[\\/]util-endpoints[\\/]lib[\\/]aws[\\/]partitions\.js$/ },
        async ({ path }) => {
          const [, json = ''] =
            /^export const partitionsInfo = (\{[\s\S]*\});\s*$/.exec(await readFile(path, 'utf8')) ?? [];
          const { partitions, ...rest } = JSON.parse(json);
          const light = partitions.map(({ regions, regionRegex, ...partition }: Partition) => {
            const other = Object.keys(regions).find(
              (name) => /\d$/.test(name) && !new RegExp(regionRegex).test(name),
            );
            if (other !== undefined)
              throw new Error(`${path}: the pattern of ${partition.id} does not match ${other}`);
            return { ...partition, regionRegex, regions: {} };
          });
          const contents = `export const partitionsInfo = ${JSON.stringify({ ...rest, partitions: light })};`;
          return { contents, loader: 'js' };
        },
      );
    },
  };
}

type Partition = { id: string; regionRegex: string; regions: Record<string, object> };
