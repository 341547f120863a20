import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { type Answer, type Incoming, longPoll, parseBody, Refused } from '../http.ts';
import { compareVersions, type GithubBehaviour, type GithubModel, type Runner } from './model.ts';

/**
 * The service that the listener of `agents/gha.mts` polls. GitHub's own protocol between listener and service is not public;
 * this is another one with the same results:
 *
 *     POST   /_listener/sessions               {version} -> {sessionId}; 409 while another session polls; 403 version refused
 *     GET    /_listener/sessions/<id>/message  200 one message, 202 none for now, 404 the registration is gone
 *     DELETE /_listener/sessions/<id>
 *     POST   /_listener/jobs/<id>/acquire      200 the job, 409 it belongs to another runner
 *     POST   /_listener/jobs/<id>/renew|log|complete   with the token of the job
 */
const PREFIX = '/_listener/';

const completion = v.object({
  result: v.picklist(['succeeded', 'failed', 'cancelled']),
  exitStatus: v.optional(v.number()),
});

export function listenerService(model: GithubModel, settings: () => GithubBehaviour) {
  const { state } = model;

  async function handle(request: Incoming): Promise<Answer | undefined> {
    if (!request.path.startsWith(PREFIX)) return undefined;
    const [kind, id = '', action = ''] = request.path.slice(PREFIX.length).split('/');
    const call = `${request.method} ${kind} ${action}`.trim();
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (kind === 'jobs' && action !== 'acquire') return jobCall(request, id, action, token);
    const runner = state.runners.find((candidate) => candidate.token === token);
    if (!runner) throw new Refused(404, 'RunnerNotFound');
    request.caller = runner.name;
    if (call === 'POST sessions') return openSession(runner, request);
    if (call === 'POST jobs acquire') return acquire(runner, id);
    if (runner.session?.id !== id) throw new Refused(401, 'SessionNotFound');
    if (call === 'DELETE sessions') {
      delete runner.session;
      return { status: 200 };
    }
    return call === 'GET sessions message' ? message(runner, request) : undefined;
  }

  function openSession(runner: Runner, request: Incoming): Answer {
    const { version } = parseBody(v.object({ version: v.string() }), request.json());
    const { minimumVersion } = settings();
    if (compareVersions(version, minimumVersion) < 0) {
      throw new Refused(403, `Runner version v${version} is deprecated and cannot receive messages.`, {
        body: { deprecated: true },
      });
    }
    if (runner.session && model.isOnline(runner)) {
      throw new Refused(409, 'SessionConflict', { body: { retrySeconds: settings().sessionRetrySeconds } });
    }
    runner.version = version;
    runner.idleSince = Date.now();
    runner.session = { id: randomUUID(), lastPollAt: Date.now() };
    return { status: 200, body: { sessionId: runner.session.id } };
  }

  async function message(runner: Runner, request: Incoming): Promise<Answer> {
    const found = await longPoll(request, settings().pollSeconds, () => {
      if (runner.done) return undefined;
      if (!state.runners.includes(runner)) return { kind: 'gone' as const };
      if (runner.session) runner.session.lastPollAt = Date.now();
      if (model.mustUpdate(runner)) return { kind: 'update' as const, version: settings().latestVersion };
      const job = state.jobs.find(({ id }) => id === runner.jobId);
      if (!job) return undefined;
      if (job.state === 'assigned' && !runner.jobDelivered) {
        runner.jobDelivered = true;
        return { kind: 'job' as const, jobId: job.id };
      }
      if (job.cancelRequested && !job.cancelSent) {
        job.cancelSent = true;
        return { kind: 'cancel' as const, jobId: job.id };
      }
      return undefined;
    });
    if (found?.kind === 'gone') throw new Refused(404, 'RunnerNotFound');
    return found ? { status: 200, body: found } : { status: 202 };
  }

  function acquire(runner: Runner, id: string): Answer {
    const job = model.pickUp(runner, id);
    return {
      status: 200,
      body: {
        id: job.id,
        runId: job.runId,
        name: job.name,
        repository: job.repository,
        steps: [{ name: 'Run', run: job.command }],
        env: job.env,
        token: job.token,
        // Five renewals may fail before the job is lost.
        renewSeconds: settings().lockSeconds / 6,
      },
    };
  }

  function jobCall(
    request: Incoming,
    id: string,
    action: string,
    token: string | undefined,
  ): Answer | undefined {
    const job = state.jobs.find((candidate) => candidate.id === id && candidate.token === token);
    if (job?.state !== 'running') throw new Refused(404, 'JobNotFound');
    request.caller = `job ${id}`;
    switch (`${request.method} ${action}`) {
      case 'POST renew':
        job.lockedUntil = Date.now() + settings().lockSeconds * 1000;
        return { status: 200, body: {} };
      case 'POST log':
        job.log += request.body.toString();
        return { status: 200, body: {} };
      case 'POST complete': {
        const { result, exitStatus } = parseBody(completion, request.json());
        model.end(job, result, exitStatus);
        return { status: 200, body: {} };
      }
      default:
        return undefined;
    }
  }

  return { handle };
}
