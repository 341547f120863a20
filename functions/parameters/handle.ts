import * as v from 'valibot';
import { DECLARED_PARAMETERS_KEY } from '../../shared/fleet/bucket-keys.ts';
import { parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import { type Envelope, ownEvent, scheduleSource } from '../../shared/runtime/envelope.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { dead, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import { CorruptRecord } from '../../shared/snapshot/errors.ts';
import { parseSetKey } from '../../shared/snapshot/layout.ts';
import type { SingleFlight } from './coalesce.ts';
import type { ReconcileDeps } from './ports.ts';
import type { Reconciliation } from './reconcile.ts';

/** Retry time of a message, in milliseconds. The schedule starts the same pass every five minutes. */
export const RETRY_FOR_MS = 15 * 60_000;

/**
 * Age from which writes that are left are left to the next message, in milliseconds. Hundreds of groups at work change more parameters in
 * five minutes than Parameter Store takes; nothing is wrong then, and a dead letter would start an alarm.
 */
const STALE_MS = 240_000;

export type ParametersDeps = ReconcileDeps & {
  /** Bucket of the declaration and of the pointers. */
  bucket: string;
  /** Passes over the tree; concurrent messages share one. */
  passes: SingleFlight<Reconciliation>;
};

/** The outcome of a message that needs no pass, or the request for a pass over the whole tree. */
type Hint =
  | Outcome
  | {
      outcome: 'reconcile';
      /** The object that has changed. */
      key?: string;
      /** Whether this message, and no other, has to report that the pass cannot be done. */
      mustReport: boolean;
    };

const parameterChange = v.object({
  name: v.pipe(v.string(), v.maxLength(2048)),
  operation: v.optional(v.string()),
});
const objectCreated = v.object({
  bucket: v.object({ name: v.string() }),
  object: v.object({ key: v.pipe(v.string(), v.maxLength(1024)) }),
});
const capacityChange = v.object({ AutoScalingGroupName: v.pipe(v.string(), v.maxLength(255)) });

/**
 * Handles one message of the inbox.
 *
 * @throws {PermanentError} if the body is not an event of the expected form
 */
export async function handleParametersMessage(message: Message, deps: ParametersDeps): Promise<Outcome> {
  const hint = hintOf(ownEvent(message), deps);
  if (hint.outcome !== 'reconcile') return hint;
  const { key, mustReport } = hint;
  if (!mustReport && deps.passes.covers(message.sentAt)) return skipped('already-reconciled');
  try {
    const { outcome, isBusy, faults } = await deps.passes.run(message.signal);
    const fault = key === undefined ? undefined : faults.get(key);
    if (fault !== undefined) return dead('faulty-object', { key, fault });
    if (outcome.outcome === 'retry' && outcome.reason === 'nothing-declared' && !mustReport) {
      return skipped('nothing-declared');
    }
    const isOld = deps.clock.now().getTime() - message.sentAt.getTime() >= STALE_MS;
    const isLeft = outcome.outcome === 'retry' && outcome.reason === 'writes-left';
    if (isOld && isLeft && isBusy) return skipped('stale', outcome.detail);
    return outcome;
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error;
    // The tree stays as it is. Only an operator can repair the declaration, so one message raises the dead-letter alarm.
    const detail = { error: error.message };
    return mustReport ? dead('corrupt-record', detail) : skipped('nothing-declared', detail);
  }
}

function hintOf(event: Envelope, deps: ParametersDeps): Hint {
  switch (`${event.source} ${event.detailType}`) {
    case `${scheduleSource(deps.prefix)} Parameters Due`:
      return { outcome: 'reconcile', mustReport: true };
    case 'aws.ssm Parameter Store Change':
      return hintOfEdit(event, deps);
    case 'aws.s3 Object Created':
      return hintOfObject(event, deps);
    case 'aws.autoscaling EC2 Instance Launch Successful':
    case 'aws.autoscaling EC2 Instance Terminate Successful': {
      const detail = parseOrReject(capacityChange, event.detail, 'malformed-detail');
      const isManaged = parseAutoScalingGroupName(deps.prefix, detail.AutoScalingGroupName) !== undefined;
      return isManaged ? { outcome: 'reconcile', mustReport: false } : skipped('foreign-group');
    }
    default:
      return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
}

function hintOfEdit(event: Envelope, { root, deletions }: ParametersDeps): Hint {
  const { name, operation } = parseOrReject(parameterChange, event.detail, 'malformed-detail');
  if (!name.startsWith(`${root}/`)) return skipped('foreign-parameter');
  if (operation === 'Delete' && !deletions.own.delete(name)) deletions.external.add(name);
  return { outcome: 'reconcile', mustReport: false };
}

function hintOfObject(event: Envelope, deps: ParametersDeps): Hint {
  const { bucket, object } = parseOrReject(objectCreated, event.detail, 'malformed-detail');
  if (bucket.name !== deps.bucket) return skipped('foreign-bucket');
  const isDeclaration = object.key === DECLARED_PARAMETERS_KEY;
  if (!isDeclaration && parseSetKey(object.key)?.kind !== 'pointer') return skipped('other-object');
  return { outcome: 'reconcile', key: object.key, mustReport: isDeclaration };
}
