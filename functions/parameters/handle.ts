import * as v from 'valibot';
import { DECLARED_PARAMETERS_KEY } from '../../shared/fleet/bucket-keys.ts';
import { parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import { type Envelope, parseEnvelope } from '../../shared/runtime/envelope.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { dead, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import { parseSetKey } from '../../shared/snapshot/layout.ts';
import { CorruptRecord } from '../../shared/snapshot/records.ts';
import type { Looker } from './looker.ts';
import type { LookResult, Removals } from './reconcile.ts';

/** The next scheduled look, five minutes later, does all that this one should have done; in milliseconds. */
export const RETRY_FOR_MS = 15 * 60_000;

export type ParametersDeps = {
  prefix: string;
  root: string;
  bucket: string;
  removals: Removals;
  looker: Looker<LookResult>;
};

/**
 * What a message comes to before anything is looked at: an outcome, or a reason to look. Every reason asks for the same
 * look at the whole tree.
 */
type Hint =
  | Outcome
  | {
      outcome: 'look';
      /** The object that has changed. */
      key?: string;
      /** The look is owed to this message: no other one will tell if it cannot be done. */
      isOwed: boolean;
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

/** Handles one message of the inbox. */
export async function handleParametersMessage(message: Message, deps: ParametersDeps): Promise<Outcome> {
  let isOwed = true;
  try {
    const hint = hintOf(parseEnvelope(message.body), deps);
    if (hint.outcome !== 'look') return hint;
    isOwed = hint.isOwed;
    if (!isOwed && deps.looker.hasSeen(message.sentAt)) return skipped('looked-since');
    const { outcome, faults } = await deps.looker.look();
    const fault = hint.key === undefined ? undefined : faults.get(hint.key);
    if (fault !== undefined) return dead('faulty-object', { key: hint.key, fault });
    // The schedule goes on asking, so that one of them tells when it has asked for too long.
    if (outcome.outcome === 'retry' && outcome.reason === 'nothing-declared' && !isOwed) {
      return skipped('nothing-declared');
    }
    return outcome;
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error;
    // Nothing can be known about the tree, so it stays. Only an operator can mend that: the dead-letter alarm calls one.
    const detail = { error: error.message };
    return isOwed ? dead('corrupt-record', detail) : skipped('nothing-declared', detail);
  }
}

function hintOf(event: Envelope, deps: ParametersDeps): Hint {
  switch (`${event.source} ${event.detailType}`) {
    case 'aw.schedule Parameters Due':
      return { outcome: 'look', isOwed: true };
    case 'aws.ssm Parameter Store Change':
      return hintOfEdit(event, deps);
    case 'aws.s3 Object Created':
      return hintOfObject(event, deps);
    case 'aws.autoscaling EC2 Instance Launch Successful':
    case 'aws.autoscaling EC2 Instance Terminate Successful': {
      const detail = parseOrReject(capacityChange, event.detail, 'malformed-detail');
      const isOurs = parseAutoScalingGroupName(deps.prefix, detail.AutoScalingGroupName) !== undefined;
      return isOurs ? { outcome: 'look', isOwed: false } : skipped('foreign-group');
    }
    default:
      return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
}

function hintOfEdit(event: Envelope, { root, removals }: ParametersDeps): Hint {
  const { name, operation } = parseOrReject(parameterChange, event.detail, 'malformed-detail');
  if (!name.startsWith(`${root}/`)) return skipped('foreign-parameter');
  if (operation === 'Delete' && !removals.own.delete(name)) removals.told.add(name);
  return { outcome: 'look', isOwed: false };
}

function hintOfObject(event: Envelope, deps: ParametersDeps): Hint {
  const { bucket, object } = parseOrReject(objectCreated, event.detail, 'malformed-detail');
  if (bucket.name !== deps.bucket) return skipped('foreign-bucket');
  const isDeclaration = object.key === DECLARED_PARAMETERS_KEY;
  if (!isDeclaration && parseSetKey(object.key)?.kind !== 'pointer') return skipped('other-object');
  return { outcome: 'look', key: object.key, isOwed: isDeclaration };
}
