import type { Alarm, AlarmState } from './alarm.ts';

/** Items of all alarms that are kept; CloudWatch keeps 30 days. */
const KEPT = 10_000;

export type HistoryItem = {
  name: string;
  /** Milliseconds since 1970. */
  at: number;
  type: 'StateUpdate' | 'ConfigurationUpdate';
  summary: string;
  /** JSON text. */
  data: string;
};

/** What happened to alarms, also to those that are deleted: their history stays under their name. */
export type History = {
  /** Latest first. */
  of(name: string | undefined): HistoryItem[];
  changedState(alarm: Alarm, before: AlarmState): void;
  changedSettings(alarm: Alarm, type: 'Create' | 'Update' | 'Delete'): void;
};

export function createHistory(now: () => number): History {
  const items: HistoryItem[] = [];

  function add(item: Omit<HistoryItem, 'at'>): void {
    items.unshift({ ...item, at: now() });
    items.splice(KEPT);
  }

  return {
    of: (name) => items.filter((item) => name === undefined || item.name === name),
    changedState({ settings, state }, before) {
      add({
        name: settings.AlarmName,
        type: 'StateUpdate',
        summary: `Alarm updated from ${before.value} to ${state.value}`,
        data: JSON.stringify({ version: '1.0', oldState: words(before), newState: words(state) }),
      });
    },
    changedSettings({ settings }, type) {
      add({
        name: settings.AlarmName,
        type: 'ConfigurationUpdate',
        summary: `Alarm "${settings.AlarmName}" ${type.toLowerCase().replace(/e$/, '')}ed`,
        data: JSON.stringify({ version: '1.0', type }),
      });
    },
  };
}

function words({ value, reason, reasonData }: AlarmState) {
  return {
    stateValue: value,
    stateReason: reason,
    ...(reasonData !== undefined && { stateReasonData: JSON.parse(reasonData) as unknown }),
  };
}
