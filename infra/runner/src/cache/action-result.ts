/**
 * Reads the parts of Bazel's `ActionResult` that name other content, in protobuf's wire format (protobuf.dev, "Encoding"; the
 * messages are those of remote_execution.proto, version 2). Everything else passes unread, so fields of newer versions are kept.
 */

/** The content of a file: its SHA-256 in hexadecimal digits, and its size. */
export type Digest = { sha256: string; bytes: number };

/** What an action result names. Content of zero bytes is left out: it always exists. */
export type ActionReferences = {
  /** Output files, standard output and standard error. */
  files: Digest[];
  /** Messages of the type `Tree`: each names the files of one output directory. */
  trees: Digest[];
  /** Messages of the type `Directory`, which name files and further directories. */
  directories: Digest[];
};

/** The bytes are not the message that they should be. */
export class UnreadableMessage extends Error {
  override readonly name = 'UnreadableMessage';
}

/** Most outputs of one action. An action with more is not cached. */
export const MAX_OUTPUTS = 100_000;

/** A result names more outputs than are cached. */
export class TooManyOutputs extends Error {
  override readonly name = 'TooManyOutputs';
}

const SHA256 = /^[0-9a-f]{64}$/;

/** @throws {UnreadableMessage} @throws {TooManyOutputs} */
export function readActionResult(bytes: Buffer): ActionReferences {
  const found: ActionReferences = { files: [], trees: [], directories: [] };
  for (const { number, value } of fields(bytes)) {
    if (number === 2) addDigests(found.files, message(value), 2);
    else if (number === 3) {
      addDigests(found.trees, message(value), 3);
      addDigests(found.directories, message(value), 5);
    } else if (number === 6 || number === 8) add(found.files, readDigest(message(value)));
  }
  return found;
}

/** The files of a `Tree`. Its directories are part of it. @throws {UnreadableMessage} @throws {TooManyOutputs} */
export function readTree(bytes: Buffer): Digest[] {
  const files: Digest[] = [];
  for (const { number, value } of fields(bytes)) {
    if (number !== 1 && number !== 2) continue;
    for (const file of readDirectory(message(value)).files) add(files, file);
  }
  return files;
}

/** @throws {UnreadableMessage} @throws {TooManyOutputs} */
export function readDirectory(bytes: Buffer): Pick<ActionReferences, 'files' | 'directories'> {
  const found = { files: [] as Digest[], directories: [] as Digest[] };
  for (const { number, value } of fields(bytes)) {
    if (number === 1) addDigests(found.files, message(value), 2);
    else if (number === 2) addDigests(found.directories, message(value), 2);
  }
  return found;
}

function addDigests(to: Digest[], bytes: Buffer, field: number): void {
  for (const { number, value } of fields(bytes)) if (number === field) add(to, readDigest(message(value)));
}

function add(to: Digest[], digest: Digest): void {
  if (digest.bytes === 0) return;
  // A list that a job makes arbitrarily long would take all memory.
  if (to.length >= MAX_OUTPUTS) throw new TooManyOutputs(`more than ${MAX_OUTPUTS} outputs`);
  to.push(digest);
}

function readDigest(bytes: Buffer): Digest {
  const digest = { sha256: '', bytes: 0 };
  for (const { number, value } of fields(bytes)) {
    if (number === 1) digest.sha256 = message(value).toString('latin1');
    else if (number === 2) digest.bytes = size(value);
  }
  if (!SHA256.test(digest.sha256)) throw new UnreadableMessage('a digest has no SHA-256');
  return digest;
}

function message(value: Buffer | number): Buffer {
  if (typeof value === 'number') throw new UnreadableMessage('a message has the type of a number');
  return value;
}

function size(value: Buffer | number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value))
    throw new UnreadableMessage('a size is not a number of bytes');
  return value;
}

/** Each field of a message, in order. Fields of a fixed width have the bytes of their value. */
function* fields(bytes: Buffer): Generator<{ number: number; value: Buffer | number }> {
  let at = 0;
  const varint = (): number => {
    let result = 0;
    for (let index = 0; index < 10; index += 1) {
      const byte = bytes[at];
      if (byte === undefined) throw new UnreadableMessage('the message ends within a number');
      at += 1;
      // Not by shifts, which have 32 bits.
      result += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return result;
    }
    throw new UnreadableMessage('a number has more than 10 bytes');
  };
  const take = (count: number): Buffer => {
    if (at + count > bytes.length) throw new UnreadableMessage('the message ends within a field');
    at += count;
    return bytes.subarray(at - count, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    if (number === 0) throw new UnreadableMessage('a field has the number 0');
    switch (tag % 8) {
      case 0:
        yield { number, value: varint() };
        break;
      case 1:
        yield { number, value: take(8) };
        break;
      case 2:
        yield { number, value: take(varint()) };
        break;
      case 5:
        yield { number, value: take(4) };
        break;
      default:
        throw new UnreadableMessage(`a field has the wire type ${tag % 8}`);
    }
  }
}
