import type { BacklogHint } from '../../shared/fleet/backlog-hint.ts';
import type { Groups } from '../../shared/fleet/declared-groups.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { HintMemory } from './hint-memory.ts';

/** The CI providers whose webhooks announce a queued job. CircleCI has none for it. */
export type HookProvider = BacklogHint['provider'];

/** The secrets with which the providers sign. */
export interface SigningKeys {
  /** The keys that are accepted at present: one, or two during a rotation. None: the secret has no usable value. */
  of(provider: HookProvider): Promise<readonly string[]>;
}

/** The inbox of the function `scaling`. */
export interface ScalingInbox {
  /**
   * @param at a read from this time on has seen the job
   * @param delaySeconds whole seconds before the inbox shows the hint
   */
  send(hint: BacklogHint, at: Date, delaySeconds: number): Promise<void>;
}

/** The dependencies of this function. */
export type WebhooksDeps = {
  keys: SigningKeys;
  groups: Pick<Groups, 'all'>;
  inbox: ScalingInbox;
  memory: HintMemory;
  clock: Clock;
};
