import { parseArgs } from 'node:util';
import { S3Client } from '@aws-sdk/client-s3';
import { revokeScope } from './revoke.ts';

/** `npm run cache -- revoke SCOPE --bucket BUCKET --reason TEXT` */
const USAGE = `usage: npm run cache -- revoke SCOPE --bucket BUCKET --reason TEXT

  revoke   no instance uses what the scope of the build cache has now, from at most one minute later

BUCKET is the output "bucket" of the module. Credentials and region come from the environment; the caller needs s3:GetObject,
s3:PutObject and s3:ListBucket for config/cache/SCOPE.json.`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { bucket: { type: 'string' }, reason: { type: 'string' } },
});
const [command, scope] = positionals;
if (command !== 'revoke' || scope === undefined || !values.bucket || !values.reason) {
  console.error(USAGE);
  process.exit(2);
}
const epoch = await revokeScope(new S3Client({}), values.bucket, scope, values.reason, new Date());
console.log(`the scope ${scope} has the epoch ${epoch} now: what was stored before is not used any more`);
