import { hash } from 'node:crypto';
import type { Digest } from '../action-result.ts';

/** Builds the messages that Bazel sends, in protobuf's wire format. */

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 0x80; left = Math.floor(left / 128)) bytes.push((left % 128) | 0x80);
  return Buffer.from([...bytes, left]);
}

export function field(number: number, value: Buffer | string | number): Buffer {
  if (typeof value === 'number') return Buffer.concat([varint(number * 8), varint(value)]);
  const bytes = Buffer.from(value as string);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

export function digestOf(content: Buffer | string): Digest {
  return { sha256: hash('sha256', content, 'hex'), bytes: Buffer.byteLength(content) };
}

export function digestMessage({ sha256, bytes }: Digest): Buffer {
  return Buffer.concat([field(1, sha256), field(2, bytes)]);
}

/** A result with output files, directories (by the digest of their `Tree`) and standard output. */
export function actionResult({
  files = [],
  trees = [],
  stdout,
}: {
  files?: readonly Digest[];
  trees?: readonly Digest[];
  stdout?: Digest;
}): Buffer {
  return Buffer.concat([
    ...files.map((digest, index) =>
      field(2, Buffer.concat([field(1, `out/${index}`), field(2, digestMessage(digest)), field(4, 1)])),
    ),
    ...trees.map((digest, index) =>
      field(3, Buffer.concat([field(1, `dir/${index}`), field(3, digestMessage(digest))])),
    ),
    field(4, 0),
    ...(stdout ? [field(6, digestMessage(stdout))] : []),
    // Of a version that does not exist yet.
    field(99, 'unknown'),
  ]);
}

/** A `Tree` whose root has files, and one child that has them too. */
export function tree(files: readonly Digest[]): Buffer {
  const directory = Buffer.concat(
    files.map((digest, index) =>
      field(1, Buffer.concat([field(1, `f${index}`), field(2, digestMessage(digest))])),
    ),
  );
  return Buffer.concat([field(1, directory), field(2, directory)]);
}
