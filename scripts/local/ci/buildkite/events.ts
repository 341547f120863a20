import { createHmac } from 'node:crypto';
import type { Agent, Announce, BuildkiteBehaviour, BuildkiteJob, EventName } from './model.ts';

/** Buildkite's two ways to publish changes: webhooks, and events of its Amazon EventBridge partner source. */

export type WebhookTarget = { url: string; token: string };

/** An event as it arrives on the partner event bus. */
export type PartnerEvent = { detailType: string; detail: Record<string, unknown> };

/** One webhook delivery. Status 0: no answer. */
export type Delivery = { event: EventName; status: number };

const ANSWER_WITHIN_MS = 10_000;

/** Detail types of the partner source. `agent.connected` is not one that the facts name. */
const DETAIL_TYPES: Partial<Record<EventName, string>> = {
  'job.scheduled': 'Job Scheduled',
  'job.started': 'Job Started',
  'job.finished': 'Job Finished',
  'agent.lost': 'Agent Lost',
  'agent.stopping': 'Agent Stopping',
  'agent.disconnected': 'Agent Disconnected',
};

export function buildkiteEvents(
  target: WebhookTarget | undefined,
  onPartnerEvent: ((event: PartnerEvent) => void) | undefined,
  organization: string,
  settings: () => BuildkiteBehaviour,
) {
  const deliveries: Delivery[] = [];
  const pending = new Set<Promise<void>>();
  const closed = new AbortController();

  const announce: Announce = (event, { job, agent }) => {
    const content = { ...(job && { job: jobBody(job) }), ...(agent && { agent: agentBody(agent) }) };
    const detailType = DETAIL_TYPES[event];
    if (detailType) {
      onPartnerEvent?.({
        detailType,
        detail: { version: 1, ...content, organization: { slug: organization } },
      });
    }
    if (!target) return;
    const body = JSON.stringify({ event, ...content });
    for (let copy = 0; copy < settings().webhookDeliveries; copy += 1) {
      const delivery: Delivery = { event, status: 0 };
      deliveries.push(delivery);
      const sent = post(target, delivery, body).finally(() => pending.delete(sent));
      pending.add(sent);
    }
  };

  async function post({ url, token }: WebhookTarget, delivery: Delivery, body: string): Promise<void> {
    const timestamp = Math.floor(Date.now() / 1000);
    const signature = createHmac('sha256', token).update(`${timestamp}.${body}`).digest('hex');
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-buildkite-event': delivery.event,
          ...(settings().webhookHeader === 'token'
            ? { 'x-buildkite-token': token }
            : { 'x-buildkite-signature': `timestamp=${timestamp},signature=${signature}` }),
        },
        body,
        signal: AbortSignal.any([closed.signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
      });
      await response.arrayBuffer();
      delivery.status = response.status;
    } catch {
      // The receiver is down or slow: the delivery keeps status 0, which `deliveries` shows.
    }
  }

  /** Ends the deliveries that wait for an answer. */
  async function close(): Promise<void> {
    closed.abort();
    await Promise.all(pending);
  }

  return { announce, deliveries, close };
}

function jobBody(job: BuildkiteJob) {
  return {
    uuid: job.id,
    id: job.id,
    type: 'script',
    name: job.name,
    state: job.state === 'queued' ? 'scheduled' : job.state,
    agent_query_rules: job.rules,
    runnable_at: new Date(job.queuedAt).toISOString(),
    started_at: job.startedAt === undefined ? null : new Date(job.startedAt).toISOString(),
    finished_at: job.finishedAt === undefined ? null : new Date(job.finishedAt).toISOString(),
    exit_status: job.exitStatus ?? null,
  };
}

function agentBody(agent: Agent) {
  return {
    uuid: agent.id,
    id: agent.id,
    name: agent.name,
    hostname: agent.hostname,
    version: agent.version,
    connection_state: agent.state,
    meta_data: agent.tags,
  };
}
