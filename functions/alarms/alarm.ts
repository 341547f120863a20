/**
 * Whether an alarm may page. `muted`: its actions are disabled, or its suppressor is in alarm. `held`: its actions follow after a
 * period that ends without a change of state (wait and extension period of a suppressor; alarm mute rule).
 */
export type Suppression =
  | { kind: 'none' }
  | { kind: 'muted' }
  /** `until` is undefined where the end of the period is unknown. */
  | { kind: 'held'; until: Date | undefined };

/** An alarm of CloudWatch, of any type. */
export type Alarm = {
  name: string;
  arn: string;
  state: 'OK' | 'ALARM' | 'INSUFFICIENT_DATA';
  reason: string;
  /** Start of the present state. */
  since: Date | undefined;
  description: string;
  suppression: Suppression;
  metric: string | undefined;
  dimensions: Record<string, string>;
};

/**
 * The past of an alarm according to its history: its last state other than INSUFFICIENT_DATA since it was created, `none` if it
 * had no other, `deleted` if it does not exist any more, `unknown` if the history does not contain it.
 */
export type PriorState = 'OK' | 'ALARM' | 'none' | 'deleted' | 'unknown';
