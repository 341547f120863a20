import * as v from 'valibot';
import { ProviderError } from '../../shared/ci/provider.ts';
import { INSTANCE_ID } from '../../shared/fleet/names.ts';
import { isTransient } from '../../shared/runtime/aws-errors.ts';
import { ownEvent, scheduleSource } from '../../shared/runtime/envelope.ts';
import { errorText, RetryableError } from '../../shared/runtime/errors.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { dead, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { untilAborted } from '../../shared/runtime/until-aborted.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import { cleanUpInstance } from './clean-up.ts';
import type { RegistrationDeps } from './ports.ts';
import { sweep } from './sweep.ts';

const HOUR_MS = 3_600_000;

/** Time between two sweeps, in milliseconds (function.json). */
const SWEEP_MS = HOUR_MS / 12;

/**
 * Age from which a sweep that fails is left to the next one, in milliseconds. An outage of a provider lasts for hours, and a dead letter
 * per sweep would say nothing new: the alarms about requests and credentials do.
 */
const STALE_MS = 0.8 * SWEEP_MS;

/**
 * Retry time of a message, in milliseconds. GitHub removes an offline registration for one job after a day, and the next sweep
 * replaces a sweep.
 */
export function retryForMs({ body }: Pick<Message, 'body'>): number {
  return v.is(v.object({ 'detail-type': v.literal('Registration Sweep') }), body) ? SWEEP_MS : 24 * HOUR_MS;
}

const terminatedSchema = v.object({
  AutoScalingGroupName: v.string(),
  EC2InstanceId: v.pipe(v.string(), v.regex(INSTANCE_ID)),
});

/** Handles one message of the inbox: an instance has terminated, or a sweep is due. */
export async function handleMessage(message: Message, allDeps: RegistrationDeps): Promise<Outcome> {
  const deps = { ...allDeps, store: untilAborted(message.signal, allDeps.store, ['write', 'remove']) };
  const event = ownEvent(message);
  try {
    switch (`${event.source} ${event.detailType}`) {
      case 'aws.autoscaling EC2 Instance Terminate Successful': {
        const detail = parseOrReject(terminatedSchema, event.detail, 'malformed-detail');
        return await cleanUpInstance(detail.EC2InstanceId, detail.AutoScalingGroupName, message.signal, deps);
      }
      case `${scheduleSource(deps.prefix)} Registration Sweep`:
        return await sweepOrSkip(message, deps);
      default:
        return dead('unknown-event', { source: event.source, detailType: event.detailType });
    }
  } catch (error) {
    throw error instanceof ProviderError ? asRetry(error) : error;
  }
}

/** A sweep whose failure can pass is tried again until the next one is near. */
async function sweepOrSkip({ sentAt, signal }: Message, deps: RegistrationDeps): Promise<Outcome> {
  try {
    return await sweep(signal, deps);
  } catch (error) {
    const isStale = deps.clock.now().getTime() - sentAt.getTime() >= STALE_MS;
    const canPass = error instanceof ProviderError || error instanceof RetryableError || isTransient(error);
    if (isStale && canPass) return skipped('stale', { failure: errorText(error) });
    throw error;
  }
}

/** Whatever keeps a provider from removing a registration can pass, or can be repaired in time. */
function asRetry(error: ProviderError): RetryableError {
  const options = {
    cause: error,
    ...(error.afterSeconds !== undefined && { afterSeconds: error.afterSeconds }),
  };
  switch (error.kind) {
    case 'credential':
      return new RetryableError('credential', errorText(error), options);
    case 'settings':
      return new RetryableError('settings', errorText(error), options);
    case 'rate-limited':
      return new RetryableError('rate-limited', errorText(error), options);
    case 'unavailable':
      return new RetryableError('provider-unavailable', errorText(error), options);
  }
}
