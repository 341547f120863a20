import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { ServiceRequest } from '../service.ts';

/** Largest difference between the time of a signature and the present, in milliseconds (Signature Version 4: 5 minutes). */
const MAX_SKEW_MS = 300_000;

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/((\d{8})\/[^/]+\/([^/]+)\/aws4_request),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/;

/**
 * Verifies Signature Version 4 of a call with headers (IAM User Guide, "Create a signed AWS API request"). Everywhere else the
 * gateway believes the access key. A function URL takes the identity of its caller from nothing but the signature.
 *
 * @param secretAccessKey of the access key in the signature
 * @returns what is wrong, or undefined
 */
export function signatureProblem(
  { method, path, query, headers, body }: ServiceRequest,
  service: string,
  secretAccessKey: string,
  now: number = Date.now(),
): string | undefined {
  const [, , scope, day = '', signedFor, names = '', signature = ''] =
    AUTHORIZATION.exec(headers.authorization ?? '') ?? [];
  if (scope === undefined) return 'the call has no header signature';
  if (signedFor !== service) return `the call is signed for ${signedFor}`;
  const time = headers['x-amz-date'] ?? '';
  if (!time.startsWith(day) || !(Math.abs(instantOf(time) - now) <= MAX_SKEW_MS)) return 'signature expired';
  const signed = names.split(';');
  if (!signed.includes('host') || !signed.includes('x-amz-date')) return 'host or x-amz-date is not signed';
  const request = [
    method,
    // Every service but S3 encodes the path a second time.
    path.split('/').map(encode).join('/'),
    [...query]
      .map(([name, value]) => `${encode(name)}=${encode(value)}`)
      .sort()
      .join('&'),
    ...signed.map((name) => `${name}:${(headers[name] ?? '').trim().replaceAll(/ +/g, ' ')}`),
    '',
    names,
    sha256(body),
  ].join('\n');
  const text = ['AWS4-HMAC-SHA256', time, scope, sha256(request)].join('\n');
  const key = scope
    .split('/')
    .reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${secretAccessKey}`);
  const expected = hmac(key, text);
  return timingSafeEqual(expected, Buffer.from(signature, 'hex'))
    ? undefined
    : 'the signature does not match';
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

/** RFC 3986, which escapes more than `encodeURIComponent`. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** `20261123T080000Z`. */
function instantOf(time: string): number {
  return Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
}
