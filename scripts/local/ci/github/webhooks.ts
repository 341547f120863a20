import { createHmac, randomUUID } from 'node:crypto';
import type { GithubJob, JobAction } from './model.ts';

/** Webhooks `workflow_job`, signed as GitHub signs them. A delivery that fails is not repeated: GitHub does not either. */

export type WebhookTarget = { url: string; secret: string };

/** One delivery. Status 0: no answer within GitHub's 10 s. */
export type Delivery = { id: string; action: string; jobId: string; status: number };

const ANSWER_WITHIN_MS = 10_000;

export function githubWebhooks(
  target: WebhookTarget | undefined,
  copies: () => number,
  jobBody: (job: GithubJob) => object,
) {
  const deliveries: Delivery[] = [];
  const pending = new Set<Promise<void>>();
  const closed = new AbortController();

  /** Sends the event in the background. */
  function send(job: GithubJob, action: JobAction): void {
    if (!target) return;
    const [owner = ''] = job.repository.split('/');
    const body = JSON.stringify({
      action,
      workflow_job: jobBody(job),
      repository: { full_name: job.repository, owner: { login: owner, type: 'Organization' } },
      installation: { id: 101 },
      sender: { login: 'somebody' },
    });
    // Copies of one event have the same id, as redeliveries do.
    const delivery: Delivery = { id: randomUUID(), action, jobId: job.id, status: 0 };
    for (let copy = 0; copy < copies(); copy += 1) {
      const entry = { ...delivery };
      deliveries.push(entry);
      const sent = post(target, entry, body).finally(() => pending.delete(sent));
      pending.add(sent);
    }
  }

  async function post({ url, secret }: WebhookTarget, delivery: Delivery, body: string): Promise<void> {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'GitHub-Hookshot/stand-in',
          'x-github-event': 'workflow_job',
          'x-github-delivery': delivery.id,
          'x-github-hook-id': '1',
          'x-github-hook-installation-target-id': '1',
          'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
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

  return { send, deliveries, close };
}
