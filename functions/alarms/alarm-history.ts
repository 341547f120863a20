import * as v from 'valibot';

/** The states that say something about an incident. */
export type DefiniteState = 'OK' | 'ALARM';

/** One item of an alarm's history: its type, and its data as JSON text. */
export type HistoryEntry = { type: string; data: string };

const stateUpdate = v.object({
  oldState: v.object({ stateValue: v.string() }),
  newState: v.object({ stateValue: v.string() }),
});

const settingsUpdate = v.object({ type: v.string() });

/**
 * The last state in which an alarm was sure of itself, from its history.
 *
 * @param entries latest first; CloudWatch keeps those of a deleted alarm of the same name among them
 * @returns undefined if the alarm has never been sure since it was created
 */
export function lastDefinite(entries: readonly HistoryEntry[]): DefiniteState | undefined {
  for (const { type, data } of entries) {
    if (type === 'StateUpdate') {
      const { oldState, newState } = v.parse(stateUpdate, JSON.parse(data));
      if (isDefinite(newState.stateValue)) return newState.stateValue;
      if (isDefinite(oldState.stateValue)) return oldState.stateValue;
    }
    // What is older happened to an alarm that is gone.
    if (type === 'ConfigurationUpdate' && v.parse(settingsUpdate, JSON.parse(data)).type !== 'Update') return;
  }
  return undefined;
}

function isDefinite(state: string): state is DefiniteState {
  return state === 'OK' || state === 'ALARM';
}
