import * as v from 'valibot';
import { type Answer, CONTROL, type Incoming, parseBody, Refused } from './http.ts';
import type { Change, Job, JobRequest, StandIn } from './stand-in.ts';

/**
 * The control of a stand-in over HTTP, for shells and other processes. It is no part of any provider.
 *
 *     POST /_control/jobs            queues a job
 *     GET  /_control/jobs[/<id>]     jobs with state, result and log
 *     POST /_control/jobs/<id>/cancel
 *     GET  /_control/registrations   registered agents
 *     GET  /_control/requests        requests so far
 *     POST /_control/behave          changes the behaviour
 */
export function controlOf<Request extends JobRequest, Registration, Behaviour>(
  standIn: Omit<StandIn<Request, Registration, Behaviour>, 'url' | 'download' | 'close'>,
  jobRequest: v.GenericSchema<unknown, Request>,
  behaviour: v.GenericSchema<unknown, Change<Behaviour>>,
): (request: Incoming) => Answer | undefined {
  return (request) => {
    if (!request.path.startsWith(CONTROL)) return undefined;
    const [kind = '', id, action] = request.path.slice(CONTROL.length).split('/');
    const call = `${request.method} ${kind}${id === undefined ? '' : '/id'}${action ? `/${action}` : ''}`;
    switch (call) {
      case 'POST jobs':
        return { status: 201, body: shown(standIn.queueJob(parseBody(jobRequest, request.json()))) };
      case 'GET jobs':
        return { status: 200, body: standIn.jobs().map(shown) };
      case 'GET jobs/id':
        return { status: 200, body: shown(jobOf(id)) };
      case 'POST jobs/id/cancel':
        standIn.cancelJob(jobOf(id).id);
        return { status: 200, body: shown(jobOf(id)) };
      case 'GET registrations':
        return { status: 200, body: standIn.registrations() };
      case 'GET requests':
        return { status: 200, body: standIn.requests() };
      case 'POST behave':
        standIn.behave(parseBody(behaviour, request.json()));
        return { status: 200, body: {} };
      default:
        throw new Refused(404, `the stand-in has no ${request.method} ${request.path}`);
    }
  };

  function jobOf(id: string | undefined) {
    const job = standIn.jobs().find((candidate) => candidate.id === id);
    if (!job) throw new Refused(404, `no job ${id}`);
    return job;
  }
}

/** A job without the credential of its agent and without a second form of its log. */
function shown(job: Job): object {
  return Object.fromEntries(Object.entries(job).filter(([name]) => name !== 'token' && name !== 'rawLog'));
}

/** Fields of every job request. */
export const jobRequestFields = {
  command: v.pipe(v.string(), v.nonEmpty('must not be empty')),
  name: v.optional(v.pipe(v.string(), v.nonEmpty('must not be empty'))),
  env: v.optional(v.record(v.string(), v.string())),
};
