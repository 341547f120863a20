import type { Plugin } from 'esbuild';

/**
 * Modules of the SDK that a function is better off without, and what stands in for each. A bundle takes a whole module for
 * one name of it, so what no function can ever need is named here rather than found by the bundler.
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
};

/** An esbuild plugin that puts the stand-ins in place. */
export function replacedModules(): Plugin {
  const namespace = 'replaced-modules';
  return {
    name: namespace,
    setup(builder) {
      builder.onResolve({ filter: /^@/ }, ({ path, resolveDir }) =>
        Object.hasOwn(REPLACED, path) ? { path, namespace, pluginData: resolveDir } : undefined,
      );
      builder.onLoad({ filter: /.*/, namespace }, ({ path, pluginData }) => ({
        contents: REPLACED[path] ?? '',
        loader: 'js',
        resolveDir: pluginData,
      }));
    },
  };
}
