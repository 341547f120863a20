import { dirname, join, posix } from 'node:path';
import type { Plugin } from 'esbuild';

/** The replacement of a class that no bundle instantiates. */
const unused = (name: string) =>
  `export class ${name} { constructor() { throw new Error('${name}: this bundle was built without it'); } }`;

/** The replacement of a function that no bundle calls. */
const uncalled = (name: string) =>
  `export const ${name} = () => { throw new Error('${name}: this bundle was built without it'); };`;

/**
 * Modules that the libraries import and that no function needs, each with its replacement: by the name of a package, or by the
 * name of a file in one. A bundler includes a whole module for one of its names, and everything behind a condition, so it cannot
 * find these modules itself.
 */
const REPLACED: Readonly<Record<string, string>> = {
  /**
   * The chain also supports profiles, SSO, web identities and metadata services. Lambda always passes a function's credentials
   * in the environment (Lambda Developer Guide, "Defined runtime environment variables"). It is the largest single cost of
   * importing a client.
   */
  '@aws-sdk/credential-provider-node': `
    import { fromEnv } from '@aws-sdk/credential-provider-env';
    export const defaultProvider = fromEnv;
  `,
  /** For operations that answer with a stream of events, such as S3 Select. No function calls one. */
  '@smithy/core/event-streams': `
    const unused = () => { throw new Error('this bundle was built without event streams'); };
    export const resolveEventStreamSerdeConfig = (config) => config;
    export const eventStreamSerdeProvider = unused;
    export const EventStreamSerde = unused;
  `,
  /** `~/.aws/config` and `~/.aws/credentials`: absent in Lambda, where each client reads both at its first call. */
  loadSharedConfigFiles: `
    export { CONFIG_PREFIX_SEPARATOR } from './constants';
    export const loadSharedConfigFiles = async () => ({ configFile: {}, credentialsFile: {} });
  `,
  /** Signatures for more than one region, which only multi-region access points of S3 need. */
  SignatureV4MultiRegion: `
    export { SignatureV4SignWithCredentials as SignatureV4MultiRegion } from './SignatureV4SignWithCredentials';
  `,
  /** Sessions of directory buckets. The bucket of a deployment is none, and neither is that of a release. */
  S3ExpressIdentityProviderImpl: `
    export class S3ExpressIdentityProviderImpl {
      async getS3ExpressIdentity() { throw new Error('this bundle was built without directory buckets'); }
    }
  `,
  /** For handlers that answer with a stream, unlike those of a queue. Loading it takes a millisecond. */
  'node:stream/web': unused('ReadableStream'),
  /** Variants for the streams of a browser. The HTTP handler of the clients is that of Node, whose bodies are Node's streams. */
  'sdk-stream-mixin.browser': uncalled('sdkStreamMixin'),
  'createChecksumStream.browser': uncalled('createChecksumStream'),
  'getAwsChunkedEncodingStream.browser': uncalled('getAwsChunkedEncodingStream'),
  /** For bodies that are streams, and only if a client asks for a buffer. Functions send texts. */
  createBufferedReadable: uncalled('createBufferedReadable'),
  /** The region of an EC2 instance. Lambda sets AWS_REGION (Lambda Developer Guide, "Defined runtime environment variables"). */
  getInstanceMetadataRegion: 'export const getInstanceMetadataRegion = async () => undefined;',
  /** For the signatures of messages within streams of events. Each signer makes one. */
  HeaderFormatter: `
    export class HeaderFormatter {
      format() { throw new Error('this bundle was built without event streams'); }
    }
  `,
  /** For a Node without built-in hashes. Node in Lambda has them. */
  Sha1Js: unused('Sha1Js'),
  Sha256Js: unused('Sha256Js'),
  Md5Js: unused('Md5Js'),
  Crc32Js: unused('Crc32Js'),
};

/** Names of the replacements in esbuild's metafile. */
export const STAND_INS = Object.keys(REPLACED).map((name) => `replaced-modules:${name}`);

/** An esbuild plugin that replaces the modules. */
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
