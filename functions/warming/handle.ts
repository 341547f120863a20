import type { Report } from '../../shared/fleet/report.ts';
import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { type Outcome, skipped } from '../../shared/runtime/outcome.ts';
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

/** What every message needs. */
export type WarmingDeps = { bucket: string; context: WarmingContext };

/** Handles one message of the inbox. */
export async function handleWarmingMessage(message: Message, deps: WarmingDeps): Promise<Outcome> {
  try {
    return await act(parseHint(parseEnvelope(message.body)), message, deps.bucket, deps.context);
  } catch (error) {
    throw named(error);
  }
}

/** Only an operator can mend a broken pointer: the dead-letter alarm calls one. */
function named(error: unknown): unknown {
  if (!(error instanceof CorruptRecord)) return error;
  return new PermanentError('corrupt-record', error.message, { cause: error });
}

/** How long a message is retried, in milliseconds: a due run until its own deadline, a check until the next ones have come. */
export function retryForMs({ body }: Pick<Message, 'body'>, { context }: WarmingDeps): number {
  const hint = parseHint(parseEnvelope(body));
  if (hint.kind === 'check') return CHECK_MINUTES * 60_000;
  const minutes = hint.kind === 'due' ? setOf(hint.set, context)?.deadlineMinutes : undefined;
  return (minutes ?? USUAL_MINUTES) * 60_000;
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
