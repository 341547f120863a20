import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
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
  's3:CreateMultipartUpload': 's3:PutObject',
  's3:UploadPart': 's3:PutObject',
  's3:CompleteMultipartUpload': 's3:PutObject',
};

/** In a bundle and called by nobody: S3's client brings the first for directory buckets, its uploader the other for tags. */
const NEVER_CALLED = ['s3:CreateSession', 's3:PutObjectTagging'];

/** What Lambda does in the function's name, without any code in the bundle. */
export const Lambda = [
  'sqs:ReceiveMessage',
  'sqs:DeleteMessage',
  'sqs:GetQueueAttributes',
  'logs:CreateLogStream',
  'logs:PutLogEvents',
];

/**
 * The object store is one object with all of its methods, so a bundle has the commands of all of them. Those that write are
 * needed where some file of the bundle calls them.
 */
const STORE = 'shared/snapshot/store.ts';
const STORE_WRITES: Record<string, RegExp> = {
  's3:PutObject': /\bstore\.write\(|\bs3Store\(.*\)\.write\(|\bwritePointer\(/,
  's3:DeleteObject': /\bstore\.remove\(|\bs3Store\(.*\)\.remove\(/,
};

/** Defines what others may call, and is in the bundle of everybody who reads a pointer. */
const ONLY_DEFINES = 'shared/snapshot/records.ts';

/**
 * @param root the repository
 * @param meta esbuild's metafile of a bundle
 */
export function actionsOf(root: string, meta: unknown): string[] {
  const inputs = Object.values(v.parse(metaSchema, meta).outputs).flatMap((output) =>
    Object.entries(output.inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([file]) => file),
  );
  const called = inputs.flatMap(operationOf).filter((operation) => !NEVER_CALLED.includes(operation));
  const idle = idleWrites(root, inputs);
  const needed = called.filter((operation) => !idle.includes(operation));
  return [...new Set(needed.map((operation) => RENAMED[operation] ?? operation))];
}

function operationOf(file: string): string[] {
  const [, client = '', command] =
    /@aws-sdk\/client-([\w-]+)\/dist-es\/commands\/(\w+)Command\.js$/.exec(file) ?? [];
  if (!command) return [];
  const prefix = PREFIXES[client];
  if (!prefix) throw new Error(`which prefix do the actions of ${client} have? ${file}`);
  return [`${prefix}:${command}`];
}

/** Writes of the object store that no file calls. */
function idleWrites(root: string, inputs: readonly string[]): string[] {
  if (!inputs.includes(STORE)) return [];
  const callers = inputs.filter(
    (file) => /^(functions|shared|scripts)\//.test(file) && file !== STORE && file !== ONLY_DEFINES,
  );
  const sources = callers.map((file) => readFileSync(join(root, file), 'utf8'));
  return Object.keys(STORE_WRITES).filter(
    (action) => !sources.some((source) => STORE_WRITES[action]?.test(source)),
  );
}

/** The same for the runner program, which is built without a metafile. */
export async function actionsOfRunner(root: string): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['infra/runner/src/main.ts'],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    mainFields: ['module', 'main'],
    logLevel: 'warning',
  });
  return actionsOf(root, metafile);
}
