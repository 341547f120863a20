import type { Report } from '../../shared/fleet/report.ts';
import { type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import { outcomeOfError } from '../../shared/runtime/inbox.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { CorruptRecord } from '../../shared/snapshot/records.ts';
import { check } from './check.ts';
import { consider } from './consider.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { parseHint, type WarmingHint } from './events.ts';
import { snapshotReportedBroken } from './report-broken.ts';
import { machineFailed } from './reports.ts';
import { startRun } from './start-run.ts';

/**
 * How long a message is worth trying, in minutes: a schedule as long as its run might have taken (see `giveUpMinutes`), a check
 * until a few others have had their turn, everything else as long as a large snapshot may need to be verified.
 */
const CHECK_MINUTES = 30;
const USUAL_MINUTES = 6 * 60;

/** Brings one message of the inbox to its outcome. */
export async function handleWarmingMessage(
  message: Message,
  bucket: string,
  context: WarmingContext,
): Promise<Outcome> {
  let hint: WarmingHint | undefined;
  let outcome: Outcome;
  try {
    hint = parseHint(parseEnvelope(message.body));
    outcome = await act(hint, message, bucket, context);
  } catch (error) {
    outcome = outcomeOfError(named(error));
  }
  if (outcome.outcome !== 'retry') return outcome;
  const deadline = message.sentAt.getTime() + giveUpMinutes(hint, context) * 60_000;
  return { deadline: new Date(deadline), ...outcome };
}

/** Only an operator can mend a broken pointer: the dead-letter alarm calls one. */
function named(error: unknown): unknown {
  if (!(error instanceof CorruptRecord)) return error;
  return new PermanentError('corrupt-record', error.message, { cause: error });
}

function giveUpMinutes(hint: WarmingHint | undefined, context: WarmingContext): number {
  if (hint?.kind === 'check') return CHECK_MINUTES;
  if (hint?.kind === 'due') return setOf(hint.set, context)?.deadlineMinutes ?? USUAL_MINUTES;
  return USUAL_MINUTES;
}

async function act(
  hint: WarmingHint,
  message: Message,
  bucket: string,
  context: WarmingContext,
): Promise<Outcome> {
  switch (hint.kind) {
    case 'other-object':
      return skipped('no-manifest');
    case 'report':
      return actOnReport(hint.report, message, context);
    case 'manifest':
      if (hint.bucket !== bucket) return skipped('foreign-bucket');
      return withSet(hint.set, context, (set) => consider(set, hint.id, context));
    case 'due':
      return withSet(hint.set, context, (set) => startRun(set, hint.at, context));
    case 'check':
      return withSet(hint.set, context, (set) => check(set, context));
  }
}

async function actOnReport(report: Report, message: Message, context: WarmingContext): Promise<Outcome> {
  switch (report.report) {
    case 'Runner Ready': {
      const { broken, set } = report.snapshot;
      if (!broken) return skipped('nothing-broken');
      return withSet(set, context, (named) => snapshotReportedBroken(named, broken, message.sentAt, context));
    }
    case 'Runner Failed':
    case 'Runner Unhealthy':
      return machineFailed(report, context);
    default:
      return skipped('other-report');
  }
}

function withSet(
  name: string,
  context: WarmingContext,
  action: (set: NamedSet) => Promise<Outcome>,
): Promise<Outcome> | Outcome {
  const set = setOf(name, context);
  return set ? action(set) : skipped('unknown-set');
}

function setOf(name: string, context: WarmingContext): NamedSet | undefined {
  const set = Object.hasOwn(context.sets, name) ? context.sets[name] : undefined;
  return set && { ...set, name };
}
