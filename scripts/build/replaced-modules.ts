import { dirname, join, posix } from 'node:path';
import type { Plugin } from 'esbuild';

/** In place of a class that nothing can ever make an instance of here. */
const unused = (name: string) =>
  `export class ${name} { constructor() { throw new Error('${name}: this bundle was built without it'); } }`;

/**
 * Modules that the libraries import and a function is better off without, and what stands in for each: by the name of a
 * package, or by the name of a file inside of one. A bundle takes a whole module for one name of it, and whatever is behind
 * a condition, so what no function can ever need is named here rather than found by the bundler.
 */
const REPLACED: Readonly<Record<string, string>> = {
  /**
   * The chain also knows profiles, SSO, web identities and metadata services. Lambda always passes a function's credentials
   * in the environment (Lambda Developer Guide, "Defined runtime environment variables"). It is the largest single cost of
   * importing a client.
   */
  '@aws-sdk/credential-provider-node': `
    import { fromEnv } from '@aws-sdk/credential-provider-env';
    export const defaultProvider = fromEnv;
  `,
  /** For operations whose answers are streams of events, such as S3 Select. No function calls one. */
  '@smithy/core/event-streams': `
    const unused = () => { throw new Error('this bundle was built without event streams'); };
    export const resolveEventStreamSerdeConfig = (config) => config;
    export const eventStreamSerdeProvider = unused;
    export const EventStreamSerde = unused;
  `,
  /** `~/.aws/config` and `~/.aws/credentials`: not in a Lambda, where each client would look for both at its first call. */
  loadSharedConfigFiles: `
    export { CONFIG_PREFIX_SEPARATOR } from './constants';
    export const loadSharedConfigFiles = async () => ({ configFile: {}, credentialsFile: {} });
  `,
  /** Signatures for more than one region, which only multi-region access points of S3 need. */
  SignatureV4MultiRegion: `
    export { SignatureV4SignWithCredentials as SignatureV4MultiRegion } from './SignatureV4SignWithCredentials';
  `,
  /** For handlers that answer with a stream, which one of a queue never does; loading it costs a millisecond. */
  'node:stream/web': unused('ReadableStream'),
  /** What stands by where Node was built without its own hashes. Lambda's has them. */
  Sha1Js: unused('Sha1Js'),
  Sha256Js: unused('Sha256Js'),
  Md5Js: unused('Md5Js'),
  Crc32Js: unused('Crc32Js'),
};

/** Names under which the stand-ins appear in esbuild's metafile. */
export const STAND_INS = Object.keys(REPLACED).map((name) => `replaced-modules:${name}`);

/** An esbuild plugin that puts the stand-ins in place. */
export function replacedModules(): Plugin {
  const namespace = 'replaced-modules';
  return {
    name: namespace,
    setup(builder) {
      builder.onResolve({ filter: /^(@|\.|node:stream\/web$)/ }, ({ path, importer, resolveDir }) => {
        const isFile = path.startsWith('.');
        const name = isFile ? posix.basename(path, '.js') : path;
        if (!Object.hasOwn(REPLACED, name) || !isLibrary(importer)) return undefined;
        return { path: name, namespace, pluginData: isFile ? join(resolveDir, dirname(path)) : resolveDir };
      });
      builder.onLoad({ filter: /.*/, namespace }, ({ path, pluginData }) => ({
        contents: REPLACED[path] ?? '',
        loader: 'js',
        resolveDir: pluginData,
      }));
    },
  };
}

function isLibrary(file: string): boolean {
  return /node_modules[\\/]@(aws-sdk|smithy|middy)[\\/]/.test(file);
}
