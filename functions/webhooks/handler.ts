import { S3Client } from '@aws-sdk/client-s3';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SQSClient } from '@aws-sdk/client-sqs';
import { declaredGroups } from '../../shared/fleet/declared-groups.ts';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineUrlFunction } from '../../shared/runtime/define-url-function.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { scalingInbox } from './adapters/inbox.ts';
import { signingKeys } from './adapters/signing-keys.ts';
import { webhooksEnv } from './env.ts';
import { handleWebhook } from './handle.ts';
import { hintMemory } from './hint-memory.ts';

export const handler = defineUrlFunction({
  name: 'webhooks',
  env: webhooksEnv,
  maxBodyBytes: 1_048_576,
  // GitHub gives up after 10 s, and the function ends after 6.
  limitMs: 5_000,
  connect: (env, tools) => ({
    keys: signingKeys(new SecretsManagerClient(clientSettings('lambda')), env.WEBHOOK_SECRETS, tools),
    groups: declaredGroups(s3Store(new S3Client(clientSettings('lambda')), env.BUCKET), tools.clock),
    inbox: scalingInbox(new SQSClient(clientSettings('lambda')), env.SCALING_INBOX_URL),
    memory: hintMemory(),
    clock: tools.clock,
  }),
  handle: handleWebhook,
});
