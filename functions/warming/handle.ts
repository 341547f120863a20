import type { Report } from '../../shared/fleet/report.ts';
import { ownEvent, parseEnvelope } from '../../shared/runtime/envelope.ts';
import { addLogFields } from '../../shared/runtime/logger.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { untilAborted } from '../../shared/runtime/until-aborted.ts';
import { handleFailedInstance, startRun } from './advance-run.ts';
import { handleBrokenReport } from './broken-reports.ts';
import { parseHint } from './hint.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { evaluateSnapshot } from './promote-snapshot.ts';
import { reconcileSet } from './reconcile-set.ts';
import { revokeSnapshots } from './revoke-snapshots.ts';

const MINUTE_MS = 60_000;

/** Retry time of a check, in milliseconds: several later checks have run by then. */
const CHECK_MS = 30 * MINUTE_MS;

/** Retry time of every other message, in milliseconds. */
const DEFAULT_MS = 6 * 60 * MINUTE_MS;

/** Retry time of a message, in milliseconds. The one of a due run is the deadline of the run. */
export function retryForMs({ body }: Pick<Message, 'body'>, deps: WarmingDeps): number {
  const hint = parseHint(parseEnvelope(body), deps.prefix);
  if (hint.kind === 'check') return CHECK_MS;
  const set = hint.kind === 'run-due' ? findSet(hint.set, deps) : undefined;
  return set ? set.deadlineMinutes * MINUTE_MS : DEFAULT_MS;
}

/** Handles one message of the inbox. */
export async function handleWarmingMessage(message: Message, allDeps: WarmingDeps): Promise<Outcome> {
  // A pruning that resumes an hour later, for example, would delete by a list that is as old.
  const deps = {
    ...allDeps,
    store: untilAborted(message.signal, allDeps.store, ['write', 'remove']),
    capacity: untilAborted(message.signal, allDeps.capacity, ['setDesired']),
  };
  const hint = parseHint(ownEvent(message), deps.prefix);
  switch (hint.kind) {
    case 'other-object':
      return skipped('no-manifest');
    case 'report':
      return handleReport(hint.report, deps);
    case 'manifest':
      if (hint.bucket !== deps.bucket) return skipped('foreign-bucket');
      return withSet(hint.set, deps, (set) => evaluateSnapshot(set, hint.id, deps));
    case 'run-due':
      return withSet(hint.set, deps, (set) => startRun(set, hint.at, deps));
    case 'check':
      return withSet(hint.set, deps, (set) => reconcileSet(set, deps));
    case 'revocation':
      return withSet(hint.set, deps, (set) => revokeSnapshots(set, hint, deps));
  }
}

async function handleReport(report: Report, deps: WarmingDeps): Promise<Outcome> {
  switch (report.report) {
    case 'Runner Ready': {
      const { broken, set } = report.snapshot;
      if (!broken) return skipped('snapshot-not-broken');
      const { instanceId } = report;
      return withSet(set, deps, (named) => handleBrokenReport(named, { ...broken, instanceId }, deps));
    }
    case 'Runner Failed':
    case 'Runner Unhealthy':
      return handleFailedInstance(report, deps);
    default:
      return skipped('other-report');
  }
}

function withSet(
  name: string,
  deps: WarmingDeps,
  action: (set: NamedSet) => Promise<Outcome>,
): Promise<Outcome> | Outcome {
  addLogFields({ set: name });
  const set = findSet(name, deps);
  return set ? action(set) : skipped('unknown-set');
}

function findSet(name: string, { sets }: WarmingDeps): NamedSet | undefined {
  const set = Object.hasOwn(sets, name) ? sets[name] : undefined;
  return set && { ...set, name };
}
