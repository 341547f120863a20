import type { Plugin } from 'esbuild';

/**
 * In place of the SDK's credential chain, which also knows profiles, SSO, web identities and metadata services: Lambda
 * always passes a function's credentials in the environment (Lambda Developer Guide, "Defined runtime environment
 * variables"). It is the largest single cost of importing a client.
 */
const ENVIRONMENT_ONLY = `
import { fromEnv } from '@aws-sdk/credential-provider-env';
export const defaultProvider = fromEnv;
`;

/** An esbuild plugin that puts the environment provider where SDK clients import the full chain. */
export function lambdaCredentials(): Plugin {
  const namespace = 'lambda-credentials';
  return {
    name: namespace,
    setup(builder) {
      builder.onResolve({ filter: /^@aws-sdk\/credential-provider-node$/ }, ({ resolveDir }) => ({
        path: 'environment',
        namespace,
        pluginData: resolveDir,
      }));
      builder.onLoad({ filter: /.*/, namespace }, ({ pluginData }) => ({
        contents: ENVIRONMENT_ONLY,
        loader: 'js',
        resolveDir: pluginData,
      }));
    },
  };
}
