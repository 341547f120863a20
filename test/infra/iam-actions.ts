import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import * as v from 'valibot';

/** Permissions that a bundle needs, derived from esbuild's metafile. */

const metaSchema = v.object({
  outputs: v.record(
    v.string(),
    v.object({ inputs: v.record(v.string(), v.object({ bytesInOutput: v.number() })) }),
  ),
});

/** IAM prefixes of SDK clients. */
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

/** Operations in bundles that no code calls: the S3 client includes the first for directory buckets, its uploader the second. */
const NEVER_CALLED = ['s3:CreateSession', 's3:PutObjectTagging'];

/** Actions that Lambda performs with the function's role, without code in the bundle. */
export const Lambda = [
  'sqs:ReceiveMessage',
  'sqs:DeleteMessage',
  'sqs:GetQueueAttributes',
  'logs:CreateLogStream',
  'logs:PutLogEvents',
];

/**
 * Every bundle with the object store contains the commands of all its methods. A write command is needed only if a file of
 * the bundle calls the method.
 */
const STORE = 'shared/snapshot/store.ts';
const STORE_WRITES: Record<string, RegExp> = {
  's3:PutObject': /\bstore\.write\(|\bs3Store\(.*\)\.write\(|\bwritePointer\(/,
  's3:DeleteObject': /\bstore\.remove\(|\bs3Store\(.*\)\.remove\(/,
};

/** This file defines writing functions and is in every bundle that reads a pointer. */
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
  if (!prefix) throw new Error(`the IAM prefix of ${client} is missing in PREFIXES: ${file}`);
  return [`${prefix}:${command}`];
}

/** Write actions of the object store that no file of the bundle calls. */
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

/** Permissions of the runner program. Its normal build writes no metafile. */
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
