import type { Clock } from './clock.ts';

/**
 * Reads an answer up to a size. The rest, which can be of any length, is not received: the memory of a function is small.
 *
 * @param most in bytes
 * @returns `isWhole`: whether the answer has no further bytes
 */
export async function readAnswer(
  { body }: Pick<Response, 'body'>,
  most: number,
): Promise<{ text: string; isWhole: boolean }> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body ?? []) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > most) break;
  }
  return { text: Buffer.concat(pieces).toString('utf8', 0, most), isWhole: bytes <= most };
}

/** Why `fetch` failed. Its own message is "fetch failed", and its cause has the reason. Neither contains headers or body. */
export function fetchFailure(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error ? inner.message : String(inner);
}

/**
 * `Retry-After` in whole seconds, 1 at least, from either of its two forms (RFC 9110, 10.2.3).
 *
 * @returns undefined without the header, and for one that is neither
 */
export function retryAfterSeconds(headers: Headers, clock: Clock): number | undefined {
  const header = headers.get('retry-after');
  if (header === null) return undefined;
  if (/^\d+$/.test(header)) return Math.max(1, Number(header));
  // Dates of this header begin with the name of the day. `Date.parse` takes much else for a date.
  if (!/^[A-Z][a-z]/.test(header)) return undefined;
  const seconds = (Date.parse(header) - clock.now().getTime()) / 1000;
  return Number.isFinite(seconds) ? Math.max(1, Math.ceil(seconds)) : undefined;
}
