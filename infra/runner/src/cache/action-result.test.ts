import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeRecord, encodeRecord, MAX_RECORD, SMALL_OUTPUT, splitOutputs } from './action-record.ts';
import { readActionResult, readDirectory, readTree, UnreadableMessage } from './action-result.ts';
import { seal, unseal } from './sealed.ts';
import { actionResult, digestMessage, digestOf, field, tree } from './testing/messages.ts';

const [a, b, c] = [digestOf('a'), digestOf('bb'), digestOf('ccc')];

test('a result names its files, directories and standard output; fields of other versions are passed over', () => {
  const found = readActionResult(actionResult({ files: [a, b], trees: [c], stdout: a }));
  expect(found).toEqual({ files: [a, b, a], trees: [c], directories: [] });
});

test('an output without content needs no storage', () => {
  expect(readActionResult(actionResult({ files: [digestOf('')] })).files).toEqual([]);
});

test('a tree names the files of its root and of its children', () => {
  expect(readTree(tree([a, b]))).toEqual([a, b, a, b]);
});

test('a directory names files and directories', () => {
  const node = Buffer.concat([field(1, 'd'), field(2, digestMessage(c))]);
  const file = Buffer.concat([field(1, 'f'), field(2, digestMessage(a))]);
  expect(readDirectory(Buffer.concat([field(1, file), field(2, node)]))).toEqual({
    files: [a],
    directories: [c],
  });
});

test('a message that is cut, or that has a wrong digest or type, is unreadable', () => {
  const whole = actionResult({ files: [a] });
  expect(() => readActionResult(whole.subarray(0, 20))).toThrow(UnreadableMessage);
  expect(() => readActionResult(Buffer.from('not a message'))).toThrow(UnreadableMessage);
  expect(() => readActionResult(field(2, 7))).toThrow(UnreadableMessage);
  const wrong = field(2, field(2, Buffer.concat([field(1, 'xyz'), field(2, 3)])));
  expect(() => readActionResult(wrong)).toThrow('no SHA-256');
  expect(() => readActionResult(Buffer.alloc(12, 0xff))).toThrow(UnreadableMessage);
});

test('any bytes are a message or unreadable, and nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const read of [readActionResult, readTree, readDirectory]) {
        try {
          read(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(UnreadableMessage);
        }
      }
    }),
  );
});

test('a record comes back as it was, with the contents that it has', async () => {
  const record = { result: actionResult({ files: [a, b] }), outputs: [a, b] };
  const contents = new Map([[b.sha256, Buffer.from('bb')]]);
  const object = await seal(encodeRecord(record, contents));
  expect(decodeRecord(await unseal(object, MAX_RECORD))).toEqual({ ...record, contents });
});

test('one changed bit of a stored record is found, wherever it is', async () => {
  const record = { result: actionResult({ files: [a, b] }), outputs: [a, b] };
  const object = await seal(encodeRecord(record, new Map([[b.sha256, Buffer.from('bb')]])));
  for (let bit = 0; bit < object.length * 8; bit += 1) {
    const broken = Buffer.from(object);
    broken.writeUInt8(broken.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    // The checksum flag of zstd's frame is the only bit that changes nothing.
    const content = await unseal(broken, MAX_RECORD).catch(() => undefined);
    if (content) expect(decodeRecord(content).result).toEqual(record.result);
  }
});

test('a content with another digest is unreadable, also in a record with the right digest of its own', () => {
  const forged = encodeRecord(
    { result: Buffer.alloc(0), outputs: [a] },
    new Map([[a.sha256, Buffer.from('x')]]),
  );
  expect(() => decodeRecord(forged)).toThrow('does not have the digest');
});

test('small outputs are stored with their action, up to a limit for all of them', () => {
  const small = { sha256: 's', bytes: SMALL_OUTPUT };
  const large = { sha256: 'l', bytes: SMALL_OUTPUT + 1 };
  expect(splitOutputs([small, large])).toEqual({ bundled: [small], large: [large] });
  const many = Array.from({ length: 100 }, () => small);
  const { bundled, large: alone } = splitOutputs(many);
  expect([bundled.length, alone.length]).toEqual([64, 36]);
});

test('an object that is larger than allowed when it is decompressed is not read', async () => {
  await expect(unseal(await seal(Buffer.alloc(1_000_000)), 999_999)).rejects.toThrow('decompressed');
});
