import { randomBytes } from 'node:crypto';

/** Header with the access key of the caller, for calls that the SDK of AWS does not sign. */
const CALLER_HEADER = 'x-local-caller';

/** A new access key for this worker, so that the gateway can distinguish two workers of one function. */
export function callerKey(): string {
  return `LKIA${randomBytes(8).toString('hex').toUpperCase()}`;
}

/** Adds the header to every `fetch` to this machine. Calls of the PagerDuty API have no signature. */
export function signFetches(accessKeyId: string): void {
  const plain = globalThis.fetch;
  globalThis.fetch = (input, init) => {
    const request = new Request(input, init);
    if (new URL(request.url).hostname === '127.0.0.1') request.headers.set(CALLER_HEADER, accessKeyId);
    return plain(request);
  };
}
