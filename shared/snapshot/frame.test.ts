import { createHash, randomBytes } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { BrokenFrame, decodeFrame, encodeFrame } from './frame.ts';
import { MAX_FRAME_UNITS, UNIT_BYTES } from './units.ts';

const recordOf = (stored: Buffer, frameUnits: number) => ({
  storedBytes: stored.length,
  sha256: createHash('sha256').update(stored).digest(),
  frameUnits,
});

test.each([1, 5, MAX_FRAME_UNITS])('%d units come back as they were', (units) => {
  for (const content of [Buffer.alloc(units * UNIT_BYTES), randomBytes(units * UNIT_BYTES)]) {
    const { stored, sha256 } = encodeFrame(content);
    expect(
      decodeFrame(stored, { storedBytes: stored.length, sha256, frameUnits: units }).equals(content),
    ).toBe(true);
  }
});

test('only whole units become a frame', () => {
  for (const bytes of [0, 1, UNIT_BYTES - 1, (MAX_FRAME_UNITS + 1) * UNIT_BYTES]) {
    expect(() => encodeFrame(Buffer.alloc(bytes))).toThrow(RangeError);
  }
});

describe('a broken frame', () => {
  const { stored } = encodeFrame(randomBytes(2 * UNIT_BYTES));

  test('is every one with a flipped bit, and every shorter one', () => {
    const record = recordOf(stored, 2);
    for (const place of [0, 1000, stored.length - 1]) {
      const flipped = Buffer.from(stored);
      flipped[place] = (flipped[place] ?? 0) ^ 1;
      expect(() => decodeFrame(flipped, record)).toThrow(/another sha256/);
    }
    expect(() => decodeFrame(stored.subarray(1), record)).toThrow(/bytes instead of/);
  });

  test('is one of another number of units, or that is no zstd', () => {
    expect(() => decodeFrame(stored, recordOf(stored, 1))).toThrow(BrokenFrame);
    expect(() => decodeFrame(stored, recordOf(stored, 3))).toThrow(/instead of 196608/);
    const noise = randomBytes(1000);
    expect(() => decodeFrame(noise, recordOf(noise, 1))).toThrow(/does not decompress/);
  });

  test('is a bomb: neither its content nor its window is allocated', () => {
    const bomb = zstdCompressSync(Buffer.alloc(256 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(64 * 1024);
    // A raw block of one unit, in a frame that asks for a window of 128 MiB (RFC 8878, 3.1.1).
    const window = Buffer.concat([Buffer.from('28b52ffd0088010008', 'hex'), Buffer.alloc(UNIT_BYTES)]);
    expect(zstdDecompressSync(window)).toHaveLength(UNIT_BYTES);
    const before = process.resourceUsage().maxRSS;
    expect(() => decodeFrame(bomb, recordOf(bomb, 16))).toThrow(/does not decompress/);
    expect(() => decodeFrame(window, recordOf(window, 1))).toThrow(/does not decompress/);
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(64 * 1024);
  });
});
