import { randomBytes } from 'node:crypto';

/** Header by which the gateway knows who makes a call that AWS's SDK does not sign. */
const CALLER_HEADER = 'x-local-caller';

/** An access key of this worker's own, so that the gateway can tell two workers of one function apart. */
export function callerKey(): string {
  return `LKIA${randomBytes(8).toString('hex').toUpperCase()}`;
}

/** Makes every `fetch` to this machine say who calls: PagerDuty's API has no signature to tell it by. */
export function signFetches(accessKeyId: string): void {
  const plain = globalThis.fetch;
  globalThis.fetch = (input, init) => {
    const request = new Request(input, init);
    if (new URL(request.url).hostname === '127.0.0.1') request.headers.set(CALLER_HEADER, accessKeyId);
    return plain(request);
  };
}
