import {
  MAX_RETRY_AFTER_SECONDS,
  REFUSAL_STATUS,
  type Refusal,
  type Registration,
  type RegistrationAnswer,
} from '../../shared/fleet/registration.ts';
import type { UrlAnswer } from '../../shared/runtime/define-url-function.ts';
import type { Detail } from '../../shared/runtime/outcome.ts';

/** The answers of this function: status, body in the format of the contract, and the log line's outcome. */

export function registered(registration: Registration, detail: Detail): UrlAnswer {
  const body = { outcome: 'registered', registration } satisfies RegistrationAnswer;
  return { status: 200, body, outcome: 'registered', detail: { ...detail, name: registration.name } };
}

export type ReleaseResult = Extract<RegistrationAnswer, { outcome: 'released' }>['result'];

export function released(result: ReleaseResult, detail: Detail, afterSeconds?: number): UrlAnswer {
  const body = {
    outcome: 'released',
    result,
    ...(afterSeconds !== undefined && { afterSeconds }),
  } satisfies RegistrationAnswer;
  return { status: 200, body, outcome: 'released', reason: result, detail };
}

/** @param retryAfterSeconds cut to what the contract allows */
export function refused(reason: Refusal, retryAfterSeconds: number, detail?: Detail): UrlAnswer {
  const body = refusalBody(reason, retryAfterSeconds);
  return {
    status: REFUSAL_STATUS[reason],
    body,
    outcome: 'refused',
    reason,
    retryAfterSeconds: body.retryAfterSeconds,
    ...(detail && { detail }),
  };
}

/** The body of a refusal; also of an answer to a request that ended in an error. */
export function refusalBody(reason: Refusal, retryAfterSeconds: number) {
  const seconds = Math.min(MAX_RETRY_AFTER_SECONDS, Math.max(0, Math.ceil(retryAfterSeconds)));
  return { outcome: 'refused', reason, retryAfterSeconds: seconds } satisfies RegistrationAnswer;
}

/** The caller is no runner, or asks for another one. The answer tells it nothing else. */
export function denied(reason: string, detail?: Detail): UrlAnswer {
  return {
    status: 403,
    body: { error: 'denied' },
    outcome: 'denied',
    reason,
    ...(detail && { detail }),
  };
}

/** The request is malformed. */
export function malformed(error: string): UrlAnswer {
  return { status: 400, body: { error }, outcome: 'rejected', reason: 'malformed-request' };
}
