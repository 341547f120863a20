import type { Report } from '../../shared/fleet/report.ts';
import { done, type Ending, skipped } from '../../shared/runtime/ending.ts';
import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import { endingOfError } from '../../shared/runtime/inbox.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { CorruptRecord } from '../../shared/snapshot/records.ts';
import { check } from './check.ts';
import { consider } from './consider.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { failRun } from './end-run.ts';
import { parseHint, type WarmingHint } from './events.ts';
import { snapshotReportedBroken } from './report-broken.ts';
import { readRun } from './run.ts';
import { startRun } from './start-run.ts';

/**
 * How long a message is worth trying, in milliseconds: 6 h. The check every few minutes does all the same work, so an
 * old message is worth nothing.
 */
const GIVE_UP_MS = 6 * 3_600_000;

/** Brings one message of the inbox to its ending. */
export async function handleWarmingMessage(
  message: Message,
  bucket: string,
  context: WarmingContext,
): Promise<Ending> {
  const ending = await endingOf(message, bucket, context);
  if (ending.ending !== 'retry') return ending;
  return { deadline: new Date(message.sentAt.getTime() + GIVE_UP_MS), ...ending };
}

async function endingOf(message: Message, bucket: string, context: WarmingContext): Promise<Ending> {
  try {
    return await act(parseHint(parseEnvelope(message.body)), bucket, context);
  } catch (error) {
    // Only an operator can mend a broken pointer or run: the dead-letter alarm calls one.
    if (error instanceof CorruptRecord) {
      return endingOfError(new PermanentError('corrupt-record', error.message, { cause: error }));
    }
    return endingOfError(error);
  }
}

async function act(hint: WarmingHint, bucket: string, context: WarmingContext): Promise<Ending> {
  switch (hint.kind) {
    case 'other-object':
      return skipped('no-manifest');
    case 'report':
      return actOnReport(hint.report, context);
    case 'manifest':
      if (hint.bucket !== bucket) return skipped('foreign-bucket');
      return withSet(hint.set, context, (set) => consider(set, hint.id, context));
    case 'due':
      return withSet(hint.set, context, (set) => startRun(set, hint.at, context));
    case 'check':
      return withSet(hint.set, context, (set) => check(set, context));
  }
}

function withSet(
  name: string,
  context: WarmingContext,
  action: (set: NamedSet) => Promise<Ending>,
): Promise<Ending> | Ending {
  const set = Object.hasOwn(context.sets, name) ? context.sets[name] : undefined;
  return set ? action({ ...set, name }) : skipped('unknown-set');
}

async function actOnReport(report: Report, context: WarmingContext): Promise<Ending> {
  if (report.report === 'Runner Ready') {
    const { broken, set } = report.snapshot;
    if (!broken) return skipped('nothing-broken');
    return withSet(set, context, (named) => snapshotReportedBroken(named, broken, context));
  }
  // A boot that failed is replaced by Auto Scaling and tried again, until the run's deadline.
  if (report.report !== 'Runner Unhealthy') return skipped('boots-again');
  const failed: string[] = [];
  for (const [name, set] of Object.entries(context.sets)) {
    if (set.group !== report.group) continue;
    const stored = await readRun(context.store, name);
    if (stored?.run.state !== 'running' || report.at < stored.run.startedAt) continue;
    if (await failRun({ ...set, name }, stored, report.reason, context)) failed.push(name);
  }
  return failed.length > 0 ? done({ failed }) : skipped('no-run');
}
