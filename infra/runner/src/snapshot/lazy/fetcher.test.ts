import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { BrokenFrame } from '../../../../../shared/snapshot/frame.ts';
import { type Fetcher, type FetcherOptions, MissingObject, startFetcher } from './fetcher.ts';
import { frameTable } from './frame-table.ts';

const FRAME_BYTES = 100_000;

/** Frames of one unit each, one after the other in one object; the bytes of frame n are n. */
function source(count: number) {
  const object = Buffer.alloc(count * FRAME_BYTES);
  for (let frame = 0; frame < count; frame += 1)
    object.fill(frame, frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES);
  const table = frameTable(
    () =>
      Array.from({ length: count }, (_, frame) => ({
        object: 0,
        offset: frame * FRAME_BYTES,
        storedBytes: FRAME_BYTES,
        sha256: Buffer.alloc(32),
        frameUnits: 1,
        writes: [{ firstUnit: frame, units: 1, firstUnitInFrame: 0 }],
      })),
    count,
  );
  return { object, table };
}

type World = {
  fetcher: Fetcher;
  /** Requested frames, by request. */
  requests: number[][];
  stored: number[];
  warnings: string[];
};

const running: Fetcher[] = [];
afterEach(() => {
  for (const fetcher of running.splice(0)) fetcher.stop();
});

function start(count: number, changed: Partial<FetcherOptions> = {}): World {
  const { object, table } = source(count);
  const world: Omit<World, 'fetcher'> = { requests: [], stored: [], warnings: [] };
  const fetcher = startFetcher({
    table,
    async read(_object, from, length) {
      world.requests.push(framesOf(from, length));
      await sleep(1);
      return pieces(object.subarray(from, from + length));
    },
    allocate: (length) => new Uint8Array(length),
    drop() {},
    hurry() {},
    async store(frame, stored) {
      if (stored.length !== FRAME_BYTES || stored[0] !== frame % 256 || stored.at(-1) !== frame % 256)
        return { bad: 'is wrong' };
      await sleep(1);
      world.stored.push(frame);
      return {};
    },
    patienceMs: 60_000,
    warn: (line) => world.warnings.push(line),
    ...changed,
  });
  running.push(fetcher);
  return { ...world, fetcher };
}

function framesOf(from: number, length: number): number[] {
  const first = from / FRAME_BYTES;
  return Array.from({ length: length / FRAME_BYTES }, (_, index) => first + index);
}

/** In sizes that no frame ends at. */
async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_537) yield bytes.subarray(at, at + 65_537);
}

const connectionError = () => Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });

describe('startFetcher', () => {
  it('fetches every frame once, neighbours in one request, and finishes', async () => {
    const { fetcher, requests, stored } = start(200);
    await fetcher.finished;
    expect(stored.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, frame) => frame));
    expect(requests.flat().toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_, frame) => frame),
    );
    expect(requests.length).toBeLessThanOrEqual(12);
    expect(fetcher.progress()).toMatchObject({
      frames: 200,
      ofFrames: 200,
      fetchedBytes: 200 * FRAME_BYTES,
      misses: 0,
    });
  });

  it('finishes at once without frames', async () => {
    await start(0).fetcher.finished;
  });

  it('requests a missed frame before the background, and once for many readers', async () => {
    const { fetcher, requests } = start(2_000);
    const needs = Array.from({ length: 20 }, () => fetcher.need(1_900));
    await Promise.all(needs);
    expect(requests.filter((frames) => frames.includes(1_900))).toHaveLength(1);
    expect(fetcher.progress().frames).toBeLessThan(1_500);
    await fetcher.need(1_900);
    expect(fetcher.progress().misses).toBe(20);
  });

  it('has few requests in the background while readers miss frames', async () => {
    let underWay = 0;
    let most = 0;
    const { fetcher } = start(2_000, {
      async read(_object, from, length) {
        underWay += 1;
        await sleep(5);
        const bytes = Buffer.concat(framesOf(from, length).map((frame) => Buffer.alloc(FRAME_BYTES, frame)));
        most = Math.max(most, underWay);
        underWay -= 1;
        return pieces(bytes);
      },
    });
    // The requests of the start end.
    await fetcher.need(1_000);
    await sleep(40);
    most = 0;
    for (let frame = 1_990; frame > 1_980; frame -= 1) await fetcher.need(frame);
    expect(most).toBeLessThanOrEqual(5);
    expect(most).toBeGreaterThanOrEqual(1);
  });

  it('bounds the frames in memory when the threads are slow', async () => {
    let allocated = 0;
    let most = 0;
    const { fetcher } = start(300, {
      allocate(length) {
        allocated += 1;
        most = Math.max(most, allocated);
        return new Uint8Array(length);
      },
      drop() {
        allocated -= 1;
      },
      async store() {
        await sleep(2);
        allocated -= 1;
        return {};
      },
    });
    await fetcher.finished;
    // 16 that wait for a thread, and one per request.
    expect(most).toBeLessThanOrEqual(16 + 32);
  });

  it('gives a reader its frame while the threads have more frames than they can decode', async () => {
    let isBlocked = true;
    const { fetcher } = start(2_000, {
      async store(_frame, _stored, isMissed) {
        while (isBlocked && !isMissed) await sleep(5);
        return {};
      },
    });
    // The background fills all room and stops.
    await sleep(200);
    const before = fetcher.progress().fetchedBytes;
    await fetcher.need(1_500);
    // Also one that a request of the background, which waits for room, has not received yet.
    await Promise.all(
      Array.from({ length: 300 }, (_, frame) => frame + 40).map((frame) => fetcher.need(frame)),
    );
    expect(before).toBeLessThan(1_000 * FRAME_BYTES);
    isBlocked = false;
  });

  it('repeats requests that fail, and continues a request that ends in its middle', async () => {
    let failures = 0;
    const { object } = source(64);
    const { fetcher, stored } = start(64, {
      async read(_object, from, length) {
        if (failures < 5) {
          failures += 1;
          if (failures % 2 === 0) throw connectionError();
          return (async function* () {
            yield object.subarray(from, from + Math.floor(length / 2));
            throw connectionError();
          })();
        }
        return pieces(object.subarray(from, from + length));
      },
    });
    await fetcher.finished;
    expect(stored).toHaveLength(64);
    expect(new Set(stored).size).toBe(64);
  });

  it('repeats a request whose answer is too short', async () => {
    let isShort = true;
    const { object } = source(3);
    const { fetcher, warnings } = start(3, {
      async read(_object, from, length) {
        const end = from + (isShort ? length - 1 : length);
        isShort = false;
        return pieces(object.subarray(from, end));
      },
    });
    await fetcher.finished;
    expect(warnings).toEqual([expect.stringContaining('too short')]);
  });

  it('gives up a connection that goes silent', async () => {
    let isSilent = true;
    const { object } = source(3);
    const { fetcher } = start(3, {
      silenceMs: 50,
      async read(_object, from, length, signal) {
        if (isSilent) {
          isSilent = false;
          return (async function* () {
            yield object.subarray(from, from + 10);
            await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
          })();
        }
        return pieces(object.subarray(from, from + length));
      },
    });
    await fetcher.finished;
  });

  it('lets readers wait until the patience is over, and then fails all of them', async () => {
    const { fetcher, warnings } = start(10, {
      patienceMs: 300,
      read: () => Promise.reject(connectionError()),
    });
    const began = performance.now();
    await expect(fetcher.need(4)).rejects.toThrow('no frame for 0.3 s');
    expect(performance.now() - began).toBeGreaterThan(250);
    await expect(fetcher.need(5)).rejects.toThrow('no frame for 0.3 s');
    await expect(fetcher.finished).rejects.toThrow('no frame for 0.3 s');
    // One line per outage, not one per attempt.
    expect(warnings).toHaveLength(1);
  });

  it('serves what it has after it has given up', async () => {
    let isGone = false;
    const { object } = source(100);
    const { fetcher } = start(100, {
      patienceMs: 200,
      async read(_object, from, length) {
        if (isGone) throw connectionError();
        isGone = true;
        return pieces(object.subarray(from, from + length));
      },
    });
    await fetcher.need(0);
    await expect(fetcher.finished).rejects.toThrow();
    await fetcher.need(0);
    await expect(fetcher.need(99)).rejects.toThrow();
  });

  it('fetches a frame with wrong bytes again', async () => {
    let isWrong = true;
    const { object } = source(5);
    const { fetcher, warnings } = start(5, {
      async read(_object, from, length) {
        const bytes = Buffer.from(object.subarray(from, from + length));
        if (isWrong) bytes[0] = 99;
        isWrong = false;
        return pieces(bytes);
      },
    });
    await fetcher.finished;
    expect(warnings).toEqual(['the frame at byte 0 of object 0 is fetched again: it is wrong']);
  });

  it('gives up on a frame whose bytes are wrong three times', async () => {
    let requests = 0;
    const { object } = source(5);
    const { fetcher } = start(5, {
      async read(_object, from, length) {
        const bytes = Buffer.from(object.subarray(from, from + length));
        const frame = 2 * FRAME_BYTES - from;
        if (frame >= 0 && frame < length) {
          requests += 1;
          bytes[frame] = 99;
        }
        return pieces(bytes);
      },
    });
    await expect(fetcher.need(2)).rejects.toThrow(BrokenFrame);
    expect(requests).toBe(3);
  });

  it('gives up at once when an object is missing', async () => {
    const { fetcher, requests } = start(10, {
      read: () => Promise.reject(new MissingObject('frames are gone')),
    });
    await expect(fetcher.need(3)).rejects.toThrow('frames are gone');
    expect(requests.length).toBeLessThanOrEqual(1);
  });

  it('gives up when the local file cannot be written', async () => {
    const { fetcher } = start(10, { store: () => Promise.reject(new Error('ENOSPC')) });
    await expect(fetcher.need(3)).rejects.toThrow('ENOSPC');
  });
});
