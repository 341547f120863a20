import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import * as v from 'valibot';
import {
  type Registration,
  type RegistrationAnswer,
  type RegistrationRequest,
  registrationAnswerSchema,
} from '../../../../shared/fleet/registration.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { forgetSecret, registerSecret } from '../../../../shared/runtime/redact.ts';

/** Longest time of one request, in milliseconds: the function's own limit is 30 s. */
const REQUEST_LIMIT_MS = 35_000;

/** Most characters of an answer; the largest is a just-in-time configuration of a few kilobytes. */
const MAX_ANSWER = 262_144;

/** Largest difference of clocks at which a signature is still accepted, in milliseconds (Signature Version 4: 5 minutes). */
const ACCEPTED_SKEW_MS = 240_000;

/**
 * The result of one request. `failed`: the function gave no answer. `isLost` then shows whether it can have issued a registration
 * all the same.
 */
export type RegistrationResult = RegistrationAnswer | { outcome: 'failed'; reason: string; isLost: boolean };

/** Requests registrations for the agents of this instance. */
export interface RegistrationClient {
  /** Sends one request, and never throws. The driver repeats it. */
  call(request: RegistrationRequest): Promise<RegistrationResult>;
}

type SignerSettings = ConstructorParameters<typeof SignatureV4>[0];

/**
 * @param url of the function `registration`
 * @param credentials of the instance role
 */
export function registrationClient(options: {
  url: string;
  region: string;
  credentials: SignerSettings['credentials'];
  now?: () => number;
}): RegistrationClient {
  const { region, credentials, now = Date.now } = options;
  const url = new URL(options.url);
  const signer = new SignatureV4({ service: 'lambda', region, credentials, sha256: Sha256 });
  /** Difference between the clock of AWS and that of this instance, in milliseconds. */
  let offset = 0;

  async function post(body: string): Promise<{ status: number; date: number; text: string }> {
    const { headers } = await signer.sign(
      {
        method: 'POST',
        protocol: url.protocol,
        hostname: url.hostname,
        path: url.pathname,
        headers: { host: url.host, 'content-type': 'application/json' },
        body,
      },
      { signingDate: new Date(now() + offset) },
    );
    const { host: _, ...others } = headers;
    const response = await fetch(url, {
      method: 'POST',
      headers: others,
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
    });
    const text = await response.text();
    if (text.length > MAX_ANSWER) throw new Error(`the answer has ${text.length} characters`);
    return { status: response.status, date: Date.parse(response.headers.get('date') ?? ''), text };
  }

  return {
    async call(request) {
      const body = JSON.stringify(request);
      try {
        let answer = await post(body);
        // A clock that is wrong by more than 5 minutes: AWS refuses the signature, and its answer has the right time.
        const skew = answer.date - (now() + offset);
        if (answer.status === 403 && Math.abs(skew) > ACCEPTED_SKEW_MS) {
          offset += skew;
          answer = await post(body);
        }
        return parse(answer.status, answer.text);
      } catch (error) {
        // Without an answer the request may have arrived.
        return { outcome: 'failed', reason: reasonOf(error), isLost: true };
      }
    },
  };
}

function parse(status: number, text: string): RegistrationResult {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), registrationAnswerSchema), text);
  if (result.success) {
    if (result.output.outcome === 'registered') registerSecrets(result.output.registration);
    return result.output;
  }
  // The text of an unknown answer can contain a secret: only its status is logged.
  const reason = `the function registration answered ${status}${status === 200 ? ' with an unknown body' : ''}`;
  // 4xx: IAM, Lambda's concurrency or the schema refused the call before a registration was issued.
  return { outcome: 'failed', reason, isLost: status === 200 || status >= 500 };
}

/** The secrets of the last registrations. An instance has thousands in its life, and each is searched for in each line of the log. */
const recent: string[] = [];
const MOST_SECRETS = 16;

function registerSecrets(registration: Registration): void {
  const secret = secretOf(registration);
  registerSecret(secret);
  recent.push(secret);
  for (const old of recent.splice(0, Math.max(0, recent.length - MOST_SECRETS))) {
    // CircleCI's token is the same each time.
    if (!recent.includes(old)) forgetSecret(old);
  }
}

function secretOf(registration: Registration): string {
  if (registration.provider === 'gha') return registration.jitConfig;
  return registration.provider === 'bk' ? registration.answer.access_token : registration.authToken;
}

/** `fetch` hides the reason of a failed connection in `cause`. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return `the function registration cannot be reached: ${errorText(cause ?? error)}`;
}

/** Node's SHA-256 and HMAC in the form that the signer needs. */
class Sha256 {
  readonly #secret: string | Uint8Array | undefined;
  #hash: ReturnType<typeof createHash>;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#secret = secret === undefined || typeof secret === 'string' ? secret : bytes(secret);
    this.#hash = this.#begin();
  }

  #begin(): ReturnType<typeof createHash> {
    // Both have `update` and `digest`.
    return this.#secret === undefined
      ? createHash('sha256')
      : (createHmac('sha256', this.#secret) as unknown as ReturnType<typeof createHash>);
  }

  update(data: string | Uint8Array): void {
    this.#hash.update(data);
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    this.#hash = this.#begin();
  }
}

function bytes(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}
