import * as v from 'valibot';
import { ProviderError } from '../../shared/ci/provider.ts';
import { registrationRequestSchema } from '../../shared/fleet/registration.ts';
import type { UrlAnswer, UrlRequest } from '../../shared/runtime/define-url-function.ts';
import { ConfigurationError, PermanentError } from '../../shared/runtime/errors.ts';
import { untilAborted } from '../../shared/runtime/until-aborted.ts';
import { issuesText } from '../../shared/runtime/validate.ts';
import { denied, malformed, refused } from './answers.ts';
import { identify, parseCaller, type Runner } from './caller.ts';
import { takeTurn } from './caller-limit.ts';
import type { RegistrationDeps } from './ports.ts';
import { register } from './register.ts';
import { release } from './release.ts';

/** When an instance comes back after a refusal that a person has to end, in seconds; spread over half as long again. */
const OPERATOR_SECONDS = 60;

/** The same after a fault of the provider or of AWS. */
const FAULT_SECONDS = 15;

/** Wait after a refusal for the provider's rate, if it names none, in seconds. */
const RATE_SECONDS = 60;

/** The same for an instance that asks far too often. */
const TOO_OFTEN_SECONDS = 10;

/** Answers one request of an instance. */
export async function handleRequest(request: UrlRequest, deps: RegistrationDeps): Promise<UrlAnswer> {
  try {
    return await answer(request, deps);
  } catch (error) {
    // An object of the deployment that cannot be read says nothing about the request.
    if (!(error instanceof PermanentError) || error.reason !== 'corrupt-record') throw error;
    throw new ConfigurationError(error.message, { cause: error });
  }
}

async function answer(request: UrlRequest, allDeps: RegistrationDeps): Promise<UrlAnswer> {
  // The caller has its answer at the time limit, and may have asked again.
  const deps = { ...allDeps, store: untilAborted(request.signal, allDeps.store, ['write', 'remove']) };
  const caller = request.caller && parseCaller(request.caller.arn);
  const runner = caller ? await identify(caller, deps) : { denied: 'no-role' };
  if ('denied' in runner) {
    deps.metrics.add('DeniedRequests', 1, {});
    return denied(runner.denied, { caller: request.caller?.arn });
  }
  if (!takeTurn(runner.instanceId, deps.turns, deps.clock))
    return refused('too-soon', TOO_OFTEN_SECONDS, { instanceId: runner.instanceId });
  const body = v.safeParse(
    v.pipe(v.string(), v.parseJson({}, 'must be JSON'), registrationRequestSchema),
    Buffer.from(request.body).toString('utf8'),
  );
  if (!body.success) return malformed(issuesText(body.issues));
  try {
    return await (body.output.action === 'register'
      ? register(body.output, runner, request.signal, deps)
      : release(body.output, runner, request.signal, deps));
  } catch (error) {
    if (error instanceof ProviderError) return providerRefusal(error, runner, deps);
    if (!(error instanceof PermanentError)) {
      deps.metrics.add('RegistrationFailures', 1, { Group: runner.group.id });
    }
    throw error;
  }
}

function providerRefusal(
  error: ProviderError,
  { instanceId, group }: Runner,
  deps: RegistrationDeps,
): UrlAnswer {
  const { kind, message } = error;
  const detail = { group: group.id, instanceId, error: message };
  const spread = (seconds: number) => seconds * (1 + deps.random() / 2);
  if (kind === 'rate-limited') {
    deps.metrics.add('RegistrationsThrottled', 1, {});
    return refused(kind, spread(error.afterSeconds ?? RATE_SECONDS), detail);
  }
  if (kind !== 'credential') deps.metrics.add('RegistrationFailures', 1, { Group: group.id });
  const seconds = kind === 'unavailable' ? (error.afterSeconds ?? FAULT_SECONDS) : OPERATOR_SECONDS;
  return refused(kind, spread(seconds), detail);
}
