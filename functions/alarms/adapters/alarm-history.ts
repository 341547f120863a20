import * as v from 'valibot';
import { issuesText } from '../../../shared/runtime/validate.ts';
import type { PriorState } from '../alarm.ts';

/** One item of an alarm's history: its type, and its data as JSON text. */
export type HistoryEntry = { type: string; data: string };

const stateUpdate = v.object({
  oldState: v.object({ stateValue: v.string() }),
  newState: v.object({ stateValue: v.string() }),
});

const configurationUpdate = v.object({ type: v.string() });

/**
 * Parses the data of an item.
 *
 * @throws an error without the data, which the messages of JSON.parse and of the schema library quote
 */
function parseData<S extends v.GenericSchema>(schema: S, data: string): v.InferOutput<S> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(data);
  } catch {
    throw new Error('an item of the history is not JSON');
  }
  const result = v.safeParse(schema, parsed);
  if (result.success) return result.output;
  throw new Error(`an item of the history is malformed: ${issuesText(result.issues)}`);
}

/**
 * The prior state of an alarm, from a part of its history.
 *
 * @param entries latest first. CloudWatch keeps the entries of a deleted alarm of the same name.
 * @returns undefined if only older entries can contain it
 */
export function priorStateIn(entries: readonly HistoryEntry[]): PriorState | undefined {
  for (const { type, data } of entries) {
    if (type === 'StateUpdate') {
      const { oldState, newState } = parseData(stateUpdate, data);
      if (isDefinite(newState.stateValue)) return newState.stateValue;
      if (isDefinite(oldState.stateValue)) return oldState.stateValue;
    }
    if (type === 'ConfigurationUpdate') {
      const update = parseData(configurationUpdate, data).type;
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
