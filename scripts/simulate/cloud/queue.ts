import { backoffSeconds } from '../../../shared/runtime/backoff.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import type { Outcome } from '../../../shared/runtime/outcome.ts';
import { outcomeOfError, type RetryFor } from '../../../shared/runtime/record.ts';
import { type Kernel, MINUTE, type Random, SECOND } from '../kernel.ts';

/** How messages travel. Probabilities are per message. */
export type Delivery = { lost: number; doubled: number; late: number };

const ACCOUNT = '123456789012';

/** Never aborts: an invocation takes no virtual time. */
const signal = new AbortController().signal;

/** A queue in front of a function. */
export class Queue {
  readonly dead: { reason: string; body: unknown }[] = [];
  readonly outcomes = new Map<string, number>();
  /** Messages that are not finished. */
  open = 0;
  readonly name: string;
  private readonly options: {
    kernel: Kernel;
    random: Random;
    handle: (message: Message) => Promise<Outcome>;
    retryFor: RetryFor;
    delivery: () => Delivery;
    /** Whether the function runs. Without it messages wait. */
    isUp: () => boolean;
    onDead?: (queue: string, reason: string, body: unknown) => void;
  };
  private sent = 0;

  constructor(name: string, options: Queue['options']) {
    this.name = name;
    this.options = options;
  }

  /**
   * Sends a message.
   *
   * @param isEvent whether it comes through EventBridge, which may lose it; SQS itself loses none
   */
  send(body: unknown, senderId = 'AIDAEVENTS0000000000', isEvent = false): void {
    const { kernel, random } = this.options;
    const { lost, doubled, late } = this.options.delivery();
    if (isEvent && random.chance(lost)) return;
    const copies = random.chance(doubled) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      this.sent += 1;
      const id = `${this.name}-${this.sent}`;
      const delay = random.chance(late)
        ? random.between(30 * SECOND, 5 * MINUTE)
        : random.between(100, 1_500);
      this.open += 1;
      const sentAt = kernel.now;
      kernel.after(delay, () => this.deliver({ body, id, senderId, sentAt, receiveCount: 1 }));
    }
  }

  private async deliver(record: {
    body: unknown;
    id: string;
    senderId: string;
    sentAt: number;
    receiveCount: number;
  }): Promise<void> {
    const { kernel, random, handle, retryFor, isUp } = this.options;
    if (!isUp()) {
      kernel.after(random.between(5 * SECOND, 15 * SECOND), () => this.deliver(record));
      return;
    }
    const message: Message = {
      ...record,
      queue: this.name,
      account: ACCOUNT,
      sentAt: new Date(record.sentAt),
      signal,
    };
    const outcome = await handle(message).catch(outcomeOfError);
    const reason = 'reason' in outcome ? ` ${outcome.reason}` : '';
    const key = `${outcome.outcome}${reason}`;
    this.outcomes.set(key, (this.outcomes.get(key) ?? 0) + 1);
    if (outcome.outcome === 'retry') {
      const limit = typeof retryFor === 'number' ? retryFor : retryFor(message);
      if (record.sentAt + limit > kernel.now) {
        const seconds = outcome.afterSeconds ?? backoffSeconds(record.receiveCount, random.next());
        kernel.after(Math.max(0, seconds) * SECOND, () =>
          this.deliver({ ...record, receiveCount: record.receiveCount + 1 }),
        );
        return;
      }
      this.moveToDeadLetters(`deadline-passed: ${outcome.reason}`, record.body);
    } else if (outcome.outcome === 'dead') {
      this.moveToDeadLetters(outcome.reason, record.body);
    }
    this.open -= 1;
  }

  private moveToDeadLetters(reason: string, body: unknown): void {
    if (this.dead.length < 1_000) this.dead.push({ reason, body });
    this.options.onDead?.(this.name, reason, body);
  }
}

/** An event as EventBridge delivers it to an inbox. */
export function envelopeOf(source: string, detailType: string, detail: object, now: number) {
  return {
    version: '0',
    id: 'e-1',
    'detail-type': detailType,
    source,
    account: ACCOUNT,
    time: `${new Date(now).toISOString().slice(0, 19)}Z`,
    region: 'us-east-1',
    resources: [],
    detail,
  };
}
