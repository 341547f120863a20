import { hash } from 'node:crypto';
import { type Digest, MAX_OUTPUTS, UnreadableMessage } from './action-result.ts';

/**
 * One action as the cache stores it: Bazel's result, everything that the result names, and the content of small outputs. In S3 it
 * has that content, so that a hit is one request; on the disk it has none, since the outputs are files there.
 *
 *     length of the result (4 bytes), result
 *     number of outputs (4 bytes), and per output: SHA-256 (32), size (8), 1 if its content follows (1)
 *     the content of those outputs, in order
 */
export type ActionRecord = { result: Buffer; outputs: readonly Digest[] };

/** Largest output that is stored with its action, and largest content of all of them together, in bytes. */
export const SMALL_OUTPUT = 128 * 1024;
const MAX_BUNDLED = 8 * 1024 * 1024;

/** Longest record with its contents, in bytes: those, a result of 16 MiB, and the list. */
export const MAX_RECORD = MAX_BUNDLED + 16 * 1024 * 1024 + MAX_OUTPUTS * 41 + 8;

const ENTRY = 41;

/** Which outputs are stored with their action, and which alone. */
export function splitOutputs(outputs: readonly Digest[]): { bundled: Digest[]; large: Digest[] } {
  const [bundled, large]: [Digest[], Digest[]] = [[], []];
  let total = 0;
  for (const output of outputs) {
    const fits = output.bytes <= SMALL_OUTPUT && total + output.bytes <= MAX_BUNDLED;
    if (fits) total += output.bytes;
    (fits ? bundled : large).push(output);
  }
  return { bundled, large };
}

/** @param contents by SHA-256; an output without content here is stored alone */
export function encodeRecord(
  { result, outputs }: ActionRecord,
  contents: ReadonlyMap<string, Buffer> = new Map(),
): Buffer {
  const list = Buffer.alloc(8 + outputs.length * ENTRY);
  list.writeUInt32BE(outputs.length, 0);
  const bodies: Buffer[] = [];
  for (const [index, { sha256, bytes }] of outputs.entries()) {
    const at = 4 + index * ENTRY;
    const content = contents.get(sha256);
    list.write(sha256, at, 'hex');
    list.writeBigUInt64BE(BigInt(bytes), at + 32);
    list.writeUInt8(content ? 1 : 0, at + 40);
    if (content) bodies.push(content);
  }
  const length = Buffer.alloc(4);
  length.writeUInt32BE(result.length);
  return Buffer.concat([length, result, list.subarray(0, 4 + outputs.length * ENTRY), ...bodies]);
}

/**
 * @returns the record, and the content of the outputs that are stored with it
 * @throws {UnreadableMessage} also if a content does not have its digest
 */
export function decodeRecord(bytes: Buffer): ActionRecord & { contents: Map<string, Buffer> } {
  const take = reader(bytes);
  const result = take(take(4).readUInt32BE());
  const count = take(4).readUInt32BE();
  const list = take(count * ENTRY);
  const contents = new Map<string, Buffer>();
  const outputs: Digest[] = [];
  const follows: Digest[] = [];
  for (let at = 0; at < list.length; at += ENTRY) {
    const output = {
      sha256: list.toString('hex', at, at + 32),
      bytes: Number(list.readBigUInt64BE(at + 32)),
    };
    outputs.push(output);
    if (list.readUInt8(at + 40) === 1) follows.push(output);
  }
  for (const { sha256, bytes: length } of follows) {
    const content = take(length);
    if (hash('sha256', content, 'hex') !== sha256)
      throw new UnreadableMessage(`an output does not have the digest ${sha256}`);
    contents.set(sha256, content);
  }
  return { result, outputs, contents };
}

function reader(bytes: Buffer): (length: number) => Buffer {
  let at = 0;
  return (length) => {
    if (at + length > bytes.length) throw new UnreadableMessage('the record is too short');
    at += length;
    return bytes.subarray(at - length, at);
  };
}
