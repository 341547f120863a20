import { createHmac, timingSafeEqual } from 'node:crypto';
import type { UrlRequest } from '../../shared/runtime/define-url-function.ts';
import type { HookProvider } from './ports.ts';

/** A signature as a request claims it: HMAC-SHA256 over `prefix` and the bytes of the body. */
export type Claim = { mac: Buffer; prefix: string };

/** Largest difference between the time of Buildkite's signature and the present, in seconds. */
const MAX_SKEW_SECONDS = 300;

/** `sha256=<hex>` (GitHub, "Validating webhook deliveries"). */
const GITHUB = /^sha256=([0-9a-f]{64})$/;

/** `timestamp=<seconds since 1970>,signature=<hex>` (Buildkite, "Webhooks", signature). */
const BUILDKITE = /^timestamp=(\d{1,12}),signature=([0-9a-f]{64})$/;

/**
 * The signature in the headers of a request, before any secret is read and any byte of the body is looked at. Buildkite's other header
 * has the secret in clear text and says nothing about the body: it is not accepted.
 *
 * @returns undefined if there is none, or if its time is not the present
 */
export function claimOf(
  provider: HookProvider,
  headers: UrlRequest['headers'],
  now: Date,
): Claim | undefined {
  if (provider === 'gha') {
    const [, hex] = GITHUB.exec(headers['x-hub-signature-256'] ?? '') ?? [];
    return hex === undefined ? undefined : { mac: Buffer.from(hex, 'hex'), prefix: '' };
  }
  const [, timestamp, hex] = BUILDKITE.exec(headers['x-buildkite-signature'] ?? '') ?? [];
  if (timestamp === undefined || hex === undefined) return undefined;
  if (Math.abs(now.getTime() / 1000 - Number(timestamp)) > MAX_SKEW_SECONDS) return undefined;
  return { mac: Buffer.from(hex, 'hex'), prefix: `${timestamp}.` };
}

/** Whether one of the keys made the signature. Every key is tried, and each comparison takes the same time. */
export function isSignedWith({ mac, prefix }: Claim, body: Uint8Array, keys: readonly string[]): boolean {
  return keys
    .map((key) => timingSafeEqual(createHmac('sha256', key).update(prefix).update(body).digest(), mac))
    .includes(true);
}
