import type { PageFleet } from '../compact.ts';
import { element, textElement } from './dom.ts';
import { clockText, countText, dateText, durationText } from './format.ts';

/** Fills the top of the page: the time range, the source and the figures. */
export function showHeader({ from, span, source, figures, incidents }: PageFleet): void {
  const to = from + span;
  const step = span < 600_000 ? 1000 : 60_000;
  const isOneDay = dateText(from) === dateText(to);
  const end = isOneDay ? clockText(to, step) : `${dateText(to)} ${clockText(to, step)}`;
  const range = `${dateText(from)}, ${clockText(from, step)} to ${end} UTC (${durationText(span)}). `;
  element('sub').textContent = `${span > 0 ? range : ''}Source: ${source}`;
  const open = incidents.filter(({ resolved }) => Number.isNaN(resolved)).length;
  const wait = (value: number | undefined) => (value === undefined ? undefined : durationText(value));
  const list: [name: string, value: string | undefined, isBad: boolean][] = [
    ['runners', countText(figures.runners), false],
    ['jobs', countText(figures.jobs), false],
    ['jobs killed', countText(figures.killed), figures.killed > 0],
    ['queue wait, p50', wait(figures.waitP50), false],
    ['queue wait, p99', wait(figures.waitP99), false],
    [
      'warm starts',
      figures.warmShare === undefined
        ? undefined
        : `${(figures.warmShare * 100).toFixed(figures.warmShare === 1 ? 0 : 1)} %`,
      false,
    ],
    [open > 0 ? `incidents, ${open} open` : 'incidents', countText(figures.incidents), open > 0],
  ];
  element('figures').append(
    ...list.map(([name, value, isBad]) => {
      const box = document.createElement('div');
      box.className = 'figure';
      const kind = value === undefined ? 'unknown' : isBad ? 'bad' : '';
      const shown = textElement('dd', value ?? '\u2013', `figure-value ${kind}`.trim());
      if (value === undefined) shown.title = 'not known from this source';
      box.append(textElement('dt', name, 'figure-name'), shown);
      return box;
    }),
  );
}
