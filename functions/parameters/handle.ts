import * as v from 'valibot';
import { parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import { dead, type Ending, skipped } from '../../shared/runtime/ending.ts';
import { type Envelope, parseEnvelope } from '../../shared/runtime/envelope.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import { endingOfError } from '../../shared/runtime/inbox.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { parseOrDie } from '../../shared/runtime/validate.ts';
import { DECLARED_PARAMETERS_KEY, parseSetKey } from '../../shared/snapshot/layout.ts';
import { CorruptRecord } from '../../shared/snapshot/records.ts';
import { type ParametersContext, reconcile } from './reconcile.ts';

/** The next look, five minutes later, does all that this one should have done; in milliseconds. */
const GIVE_UP_MS = 15 * 60_000;

const parameterChange = v.object({ name: v.pipe(v.string(), v.maxLength(2048)) });
const objectCreated = v.object({
  bucket: v.object({ name: v.string() }),
  object: v.object({ key: v.pipe(v.string(), v.maxLength(1024)) }),
});
const capacityChange = v.object({ AutoScalingGroupName: v.pipe(v.string(), v.maxLength(255)) });

/** Brings one message of the inbox to its ending. */
export async function handleParametersMessage(
  message: Message,
  bucket: string,
  context: ParametersContext,
  look: () => Promise<Ending> = () => reconcile(context),
): Promise<Ending> {
  try {
    const ending = reasonNotToLook(parseEnvelope(message.body), bucket, context) ?? (await look());
    return withDeadline(ending, message);
  } catch (error) {
    if (error instanceof CorruptRecord) {
      return endingOfError(new PermanentError('corrupt-record', error.message, { cause: error }));
    }
    return withDeadline(endingOfError(error), message);
  }
}

function withDeadline(ending: Ending, message: Message): Ending {
  if (ending.ending !== 'retry') return ending;
  return { deadline: new Date(message.sentAt.getTime() + GIVE_UP_MS), ...ending };
}

/** Every event asks for the same look at the whole tree; undefined if this one has reason to. */
function reasonNotToLook(event: Envelope, bucket: string, context: ParametersContext): Ending | undefined {
  switch (`${event.source} ${event.detailType}`) {
    case 'aw.schedule Parameters Due':
      return undefined;
    case 'aws.ssm Parameter Store Change': {
      const { name } = parseOrDie(parameterChange, event.detail, 'malformed-detail');
      if (!name.startsWith(`${context.root}/`)) return skipped('foreign-parameter');
      context.edited.add(name);
      return undefined;
    }
    case 'aws.s3 Object Created': {
      const { bucket: from, object } = parseOrDie(objectCreated, event.detail, 'malformed-detail');
      if (from.name !== bucket) return skipped('foreign-bucket');
      const matters = object.key === DECLARED_PARAMETERS_KEY || parseSetKey(object.key)?.kind === 'pointer';
      return matters ? undefined : skipped('other-object');
    }
    case 'aws.autoscaling EC2 Instance Launch Successful':
    case 'aws.autoscaling EC2 Instance Terminate Successful': {
      const detail = parseOrDie(capacityChange, event.detail, 'malformed-detail');
      const ours = parseAutoScalingGroupName(context.prefix, detail.AutoScalingGroupName);
      return ours ? undefined : skipped('foreign-group');
    }
    default:
      return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
}
