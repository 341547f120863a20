import type { PageFleet } from '../compact.ts';
import { textElement } from './dom.ts';
import { clockText, durationText, plural } from './format.ts';
import { spansOf } from './series.ts';

/** Texts about what is under the pointer or selected. Everything becomes a text node: jobs and reasons may contain markup. */

/** A title and lines of `[name, value]`. */
export type Facts = { title: string; isCode?: boolean; lines: [name: string, value: string][] };

/** Most jobs in the panel of one runner. */
const MOST_JOBS = 300;

const OUTCOMES: Readonly<Record<string, string>> = {
  restored: 'warm: the current snapshot',
  previous: 'warm: the snapshot before the current one',
  cold: 'cold',
  none: 'no warming set',
};

/** `11:04:07.3`, on the clock of the recording. */
function clock(fleet: PageFleet, t: number): string {
  return Number.isNaN(t)
    ? 'not known'
    : clockText(fleet.from + t, fleet.span < 3_600_000 ? 100 : 1000).slice(0, 10);
}

export function jobFacts(fleet: PageFleet, j: number): Facts {
  const { jobs } = fleet;
  const [started, finished] = [jobs.started[j] ?? 0, jobs.finished[j] ?? 0];
  const isOpen = jobs.isOpen[j] === 1;
  return {
    title: jobs.name[j] || 'job',
    lines: [
      ['result', isOpen ? 'runs at the end of the recording' : (jobs.result[j] ?? 'not known')],
      ['waited', durationText(jobs.wait[j] ?? Number.NaN)],
      ['started', clock(fleet, started)],
      [isOpen ? 'runs for' : 'took', durationText(finished - started)],
      ['id', jobs.id[j] ?? ''],
    ],
  };
}

export function runnerFacts(fleet: PageFleet, i: number): Facts {
  const { runners } = fleet;
  const { text } = runners;
  const kind = [text.type[i], text.purchase[i] === 'spot' ? 'Spot' : text.purchase[i], text.zone[i]];
  const lines: Facts['lines'] = [['group', fleet.groups[runners.group[i] ?? 0]?.id ?? '']];
  const known = kind.filter((one) => one !== undefined && one !== '');
  if (known.length > 0) lines.push(['instance', known.join(', ')]);
  const restore = runners.restore.get(i);
  if (restore) {
    const isWarm = restore.outcome === 'restored' || restore.outcome === 'previous';
    const seconds =
      restore.seconds === undefined ? '' : `, restored in ${durationText(restore.seconds * 1000)}`;
    lines.push(['start', `${OUTCOMES[restore.outcome] ?? restore.outcome}${isWarm ? seconds : ''}`]);
    if (restore.snapshot !== undefined)
      lines.push(['snapshot', `${restore.set ?? ''} ${restore.snapshot}`.trim()]);
  }
  return { title: runners.id[i] ?? '', isCode: true, lines };
}

/** The phases of a runner in their order, each with its length. */
export function phaseLines(
  fleet: PageFleet,
  i: number,
): { phase: string; from: string; length: string; why: string }[] {
  const { runners } = fleet;
  const { booting, service, draining, end } = spansOf(fleet, i);
  const line = (phase: string, [from, to]: readonly [number, number], why = '') => ({
    phase,
    from: clock(fleet, from),
    length: durationText(to - from),
    why,
  });
  const lines = [];
  if (booting) lines.push(line('booting', booting));
  if (service) lines.push(line('in service', service));
  if (draining) lines.push(line('draining', draining, runners.text.drainWhy[i]));
  const ended = runners.end[i] ?? Number.NaN;
  const last = Number.isNaN(ended)
    ? { phase: 'there at the end of the recording', from: '', length: '', why: '' }
    : { phase: 'terminated', from: clock(fleet, end), length: '', why: runners.text.endWhy[i] ?? '' };
  return [...lines, last];
}

/** The phase of a runner at a time, for the tooltip. */
export function phaseAt(fleet: PageFleet, i: number, t: number, hasJob: boolean): string {
  const { booting, service, draining } = spansOf(fleet, i);
  const within = (span: readonly [number, number] | undefined) => span && t >= span[0] && t <= span[1];
  if (within(booting) && booting) return `booting for ${durationText(booting[1] - booting[0])}`;
  if (within(draining) && draining) return `draining for ${durationText(draining[1] - draining[0])}`;
  if (hasJob) return 'busy';
  return within(service) ? 'idle' : 'no instance';
}

/** Puts facts into an element. */
export function showFacts(element: HTMLElement, ...all: Facts[]): void {
  element.replaceChildren(
    ...all.flatMap(({ title, isCode, lines }) => {
      return [textElement('h2', title, isCode ? 'facts-title mono' : 'facts-title'), factList(lines)];
    }),
  );
}

function factList(lines: Facts['lines']): HTMLElement {
  const list = document.createElement('dl');
  list.className = 'facts';
  for (const [name, value] of lines) {
    list.append(
      textElement('dt', name, 'name'),
      textElement('dd', value, isBad(value) ? 'value bad' : 'value'),
    );
  }
  return list;
}

const isBad = (value: unknown) => value === 'killed' || value === 'failed';

/**
 * Fills the panel of one runner.
 *
 * @param show called with the times of a job to show
 */
export function showRunner(
  panel: HTMLElement,
  fleet: PageFleet,
  i: number,
  notes: PageFleet['notes'],
  { close, show }: { close(): void; show(from: number, to: number): void },
): void {
  const head = document.createElement('div');
  head.className = 'details-head';
  const facts = runnerFacts(fleet, i);
  const closing = button('Close', close);
  closing.setAttribute('aria-label', 'Close the details');
  head.append(textElement('h2', facts.title, 'facts-title mono'), closing);
  const { end } = spansOf(fleet, i);
  const phases = table(
    ['Phase', 'From', 'Length'],
    phaseLines(fleet, i).map(({ phase, from, length, why }) => [
      why ? `${phase}: ${why}` : phase,
      from,
      length,
    ]),
  );
  const whole = button('Show its whole time', () => show(fleet.runners.start[i] ?? 0, end));
  panel.replaceChildren(head, factList(facts.lines), part('Phases'), phases, whole);
  if (notes.length > 0) {
    panel.append(
      part('Events'),
      table(
        ['Event', 'Time'],
        notes.map(({ at, text }) => [text, clock(fleet, at)]),
      ),
    );
  }
  const [first, last] = [fleet.runners.job[i] ?? 0, fleet.runners.job[i + 1] ?? 0];
  panel.append(part(plural(last - first, 'job')));
  if (last === first) return;
  const rows = Array.from({ length: Math.min(MOST_JOBS, last - first) }, (_, index) => {
    const j = first + index;
    const { jobs } = fleet;
    const [started, finished] = [jobs.started[j] ?? 0, jobs.finished[j] ?? 0];
    const margin = (finished - started) / 2;
    return [
      button(jobs.name[j] || jobs.id[j] || 'job', () => show(started - margin, finished + margin), 'link'),
      durationText(jobs.wait[j] ?? Number.NaN),
      durationText(finished - started),
      jobs.isOpen[j] === 1 ? 'runs' : (jobs.result[j] ?? ''),
    ];
  });
  panel.append(table(['Job', 'Waited', 'Took', 'Result'], rows));
  if (last - first > MOST_JOBS)
    panel.append(textElement('p', `and ${plural(last - first - MOST_JOBS, 'further job')}`));
}

const part = (text: string) => textElement('h3', text, 'details-part');

const NUMBERS = ['From', 'Length', 'Waited', 'Took', 'Time'];

function table(names: string[], rows: (string | HTMLElement)[][]): HTMLTableElement {
  const element = document.createElement('table');
  element.className = 'list';
  const kind = (name = '') =>
    NUMBERS.includes(name) ? 'cell number' : name === 'Result' ? 'cell short' : 'cell';
  const head = element.createTHead().insertRow();
  for (const name of names) {
    const cell = textElement('th', name, `${kind(name)} head`);
    cell.setAttribute('scope', 'col');
    head.append(cell);
  }
  const body = element.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const [index, value] of row.entries()) {
      const cell = line.insertCell();
      cell.className = isBad(value) ? `${kind(names[index])} bad` : kind(names[index]);
      cell.append(value);
    }
  }
  return element;
}

function button(text: string, act: () => void, kind = ''): HTMLButtonElement {
  const element = textElement('button', text, kind);
  element.type = 'button';
  element.addEventListener('click', act);
  return element;
}
