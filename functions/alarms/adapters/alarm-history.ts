import * as v from 'valibot';
import type { PriorState } from '../ports.ts';

/** One item of an alarm's history: its type, and its data as JSON text. */
export type HistoryEntry = { type: string; data: string };

const stateUpdate = v.object({
  oldState: v.object({ stateValue: v.string() }),
  newState: v.object({ stateValue: v.string() }),
});

const configurationUpdate = v.object({ type: v.string() });

/**
 * The prior state of an alarm, as far as a part of its history tells.
 *
 * @param entries latest first. CloudWatch keeps the entries of a deleted alarm of the same name.
 * @returns undefined if these entries do not tell and older ones may
 */
export function priorStateIn(entries: readonly HistoryEntry[]): PriorState | undefined {
  for (const { type, data } of entries) {
    if (type === 'StateUpdate') {
      const { oldState, newState } = v.parse(stateUpdate, JSON.parse(data));
      if (isDefinite(newState.stateValue)) return newState.stateValue;
      if (isDefinite(oldState.stateValue)) return oldState.stateValue;
    }
    if (type === 'ConfigurationUpdate') {
      const update = v.parse(configurationUpdate, JSON.parse(data)).type;
      if (update === 'Delete') return 'deleted';
      // Older entries belong to a deleted alarm of the same name.
      if (update === 'Create') return 'none';
    }
  }
  return undefined;
}

function isDefinite(state: string): state is 'OK' | 'ALARM' {
  return state === 'OK' || state === 'ALARM';
}
