import * as v from 'valibot';
import {
  type Refusal,
  type RegistrationRequest,
  registrationRequestSchema,
} from '../../../../shared/fleet/registration.ts';
import type { RegistrationClient, RegistrationResult } from '../agents/registration-client.ts';

/** What the function does with one request. `lost`: it serves the request, and the answer does not arrive. */
export type Fault = Refusal | 'lost' | 'unreachable';

/**
 * The function `registration` and its provider, for one instance: at most one answer in 10 seconds, and a record of what was issued.
 *
 * @param fault evaluated for each request
 */
export function fakeRegistration(options: {
  instanceId: string;
  now(): number;
  fault?: (request: RegistrationRequest) => Fault | undefined;
}) {
  const { instanceId, now } = options;
  const requests: RegistrationRequest[] = [];
  /** The registrations at the provider. */
  const live = new Set<string>();
  let n = 0;
  let last = Number.NEGATIVE_INFINITY;
  let fault = options.fault ?? (() => undefined);
  let releaseResult: 'removed' | 'busy' | 'watch' | 'unsupported' = 'removed';
  let most = 0;

  function serve(request: RegistrationRequest): RegistrationResult {
    if (request.action === 'release') {
      if (releaseResult === 'removed') live.delete(request.name);
      return {
        outcome: 'released',
        result: releaseResult,
        ...(releaseResult === 'watch' && { afterSeconds: 70 }),
      };
    }
    if (now() - last < 10_000) return refuse('too-soon', (last + 10_000 - now()) / 1000);
    last = now();
    // A finished job has used its registration up, unless its answer was lost in between.
    const isCurrent = request.previous === 'job' && request.last === `${instanceId}-${n}`;
    if (!isCurrent) live.delete(`${instanceId}-${n}`);
    n += 1;
    live.add(`${instanceId}-${n}`);
    most = Math.max(most, live.size);
    return {
      outcome: 'registered',
      registration: { provider: 'gha', name: `${instanceId}-${n}`, jitConfig: `config-${n}` },
    };
  }

  const client: RegistrationClient = {
    async call(request) {
      requests.push(v.parse(registrationRequestSchema, request));
      const what = fault(request);
      if (what === 'unreachable') return { outcome: 'failed', reason: 'unreachable', isLost: true };
      if (what !== undefined && what !== 'lost') return refuse(what, what === 'not-in-service' ? 2 : 5);
      const answer = serve(request);
      return what === 'lost' ? { outcome: 'failed', reason: 'lost', isLost: true } : answer;
    },
  };
  return {
    client,
    requests,
    live,
    issued: () => n,
    /** Most registrations that were live at once. */
    most: () => most,
    setFault: (next: typeof fault) => (fault = next),
    onRelease: (result: typeof releaseResult) => (releaseResult = result),
  };
}

function refuse(reason: Refusal, retryAfterSeconds: number): RegistrationResult {
  return { outcome: 'refused', reason, retryAfterSeconds };
}
