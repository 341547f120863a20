import * as v from 'valibot';

/** Which permissions a bundle needs, read from what esbuild put into it. */

const metaSchema = v.object({
  outputs: v.record(
    v.string(),
    v.object({ inputs: v.record(v.string(), v.object({ bytesInOutput: v.number() })) }),
  ),
});

/** Where an SDK client's name is not the prefix of its actions. */
const PREFIXES: Record<string, string> = {
  'auto-scaling': 'autoscaling',
  cloudwatch: 'cloudwatch',
  eventbridge: 'events',
  s3: 's3',
  'secrets-manager': 'secretsmanager',
  sqs: 'sqs',
  ssm: 'ssm',
};

/** Operations whose permission has another name (Service Authorization Reference). */
const RENAMED: Record<string, string> = {
  's3:HeadObject': 's3:GetObject',
  's3:ListObjectsV2': 's3:ListBucket',
};

/** In a bundle and called by nobody: the client of S3 brings it along for directory buckets. */
const NEVER_CALLED = ['s3:CreateSession'];

/**
 * `shared/snapshot/store.ts` is one object with all of its methods, of which `parameters` calls only the reading ones. Listing is
 * not called there either, but the permission is what tells a missing object from a forbidden one.
 */
const NOT_CALLED_BY: Record<string, string[]> = { parameters: ['s3:PutObject', 's3:DeleteObject'] };

/** What Lambda does in the function's name, without any code in the bundle. */
export const Lambda = [
  'sqs:ReceiveMessage',
  'sqs:DeleteMessage',
  'sqs:GetQueueAttributes',
  'logs:CreateLogStream',
  'logs:PutLogEvents',
];

/** @param meta esbuild's metafile of the function's bundle */
export function actionsOf(name: string, meta: unknown): string[] {
  const actions = new Set<string>();
  for (const { inputs } of Object.values(v.parse(metaSchema, meta).outputs)) {
    for (const [file, { bytesInOutput }] of Object.entries(inputs)) {
      const [, client = '', command] =
        /@aws-sdk\/client-([\w-]+)\/dist-es\/commands\/(\w+)Command\.js$/.exec(file) ?? [];
      if (!command || bytesInOutput === 0) continue;
      const prefix = PREFIXES[client];
      if (!prefix) throw new Error(`which prefix do the actions of ${client} have? ${file}`);
      const action = `${prefix}:${command}`;
      actions.add(RENAMED[action] ?? action);
    }
  }
  for (const action of [...NEVER_CALLED, ...(NOT_CALLED_BY[name] ?? [])]) actions.delete(action);
  return [...actions];
}
