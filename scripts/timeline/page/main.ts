import { type CompactFleet, expand, type PageFleet } from '../compact.ts';
import type { ChartData } from './chart.ts';
import { CHARTS, drawCharts } from './charts-canvas.ts';
import { type Facts, showFacts, showRunner } from './details.ts';
import { element, textElement } from './dom.ts';
import { clockText, plural } from './format.ts';
import { showHeader } from './header.ts';
import { drawLegend } from './legend.ts';
import { chartsFacts, figuresAt, rowFacts } from './pointed.ts';
import { type Found, layOut, type Rows, rowAt, search } from './rows.ts';
import { drawRows, HEADER_HEIGHT } from './rows-canvas.ts';
import { fit, limit, toTime, type View, zoom } from './scale.ts';
import { phaseSeries, sumOf } from './series.ts';
import { readTheme, type Theme } from './theme.ts';

/** The page: reads the data that it contains, draws, and reacts to mouse and keys. */

/** Width of the names at the left, in pixels. */
const NAMES_WIDTH = 214;

/** Pixels at the right of the plot. */
const MARGIN = 16;

/** Rows from which the page starts with small rows, and with dense ones. */
const MANY = 60;
const VERY_MANY = 1500;

const charts = element<HTMLCanvasElement>('charts');
const rowsCanvas = element<HTMLCanvasElement>('rows');
const scroller = element('scroller');
const spacer = element('spacer');
const plot = element('plot');
const query = element<HTMLInputElement>('query');
const groupSelect = element<HTMLSelectElement>('group');
const tip = element('tip');
const cursor = element('cursor');
const brush = element('brush');
const details = element('details');
const live = element('live');

async function readData(): Promise<PageFleet> {
  const text = element('data').textContent ?? '';
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return expand((await new Response(stream).json()) as CompactFleet);
}

/** @param top upper edge in pixels: what is above stays visible */
function showMessage(title: string, text: string, top = 0): void {
  const message = element('message');
  message.style.top = `${top}px`;
  const box = document.createElement('div');
  box.append(textElement('h2', title, 'message-title'), textElement('p', text, 'message-text'));
  message.replaceChildren(box);
  message.hidden = false;
}

function start(fleet: PageFleet): void {
  const { groups, runners, jobs } = fleet;
  const series = new Map<number, ChartData>();
  const all: ChartData = {
    phases: phaseSeries(fleet, 0, runners.count),
    desired: sumOf(groups.map(({ desired }) => desired)),
    queued: sumOf(groups.map(({ queued }) => queued)),
  };
  const indexes = new Map(runners.id.map((id, i) => [id, i]));
  const notes = new Map<number, PageFleet['notes']>();
  for (const note of fleet.notes) {
    const i = indexes.get(note.runner);
    if (i !== undefined) notes.set(i, [...(notes.get(i) ?? []), note]);
  }

  let view: View = { ...fit(fleet.span), left: NAMES_WIDTH, right: NAMES_WIDTH + 1 };
  let theme: Theme;
  let found: Found | undefined;
  let rowHeight = runners.count > VERY_MANY ? 4 : runners.count > MANY ? 13 : 24;
  const collapsed = new Set<number>();
  let rows: Rows = layOut(fleet, options());
  let selected = -1;
  let hovered = -1;
  let isDue = false;

  function options() {
    const chosen = groupSelect.value === '' ? undefined : Number(groupSelect.value);
    return {
      rowHeight,
      headerHeight: HEADER_HEIGHT,
      collapsed,
      shown: found?.runners,
      group: chosen,
    };
  }

  function chartOf(g: number): ChartData {
    let data = series.get(g);
    const group = groups[g];
    if (!data && group) {
      data = {
        phases: phaseSeries(fleet, group.first, group.end),
        desired: group.desired,
        queued: group.queued,
      };
      series.set(g, data);
    }
    return data ?? all;
  }

  function redraw(): void {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      paint();
    });
  }

  function paint(): void {
    const upper = context(charts, charts.clientWidth, CHARTS.height);
    drawCharts(upper, fleet, all, view, theme);
    const height = scroller.clientHeight;
    const lower = context(rowsCanvas, scroller.clientWidth, height);
    const scroll = scroller.scrollTop;
    const drawn = drawRows(
      lower,
      fleet,
      { rows, rowHeight, collapsed, found, selected, hovered, chartOf, notes },
      view,
      { scroll, height, first: Math.max(0, rowAt(rows, scroll)) },
      theme,
    );
    scroller.dataset.drawn = String(drawn);
    scroller.dataset.view = `${Math.round(view.t0)} ${Math.round(view.t1)}`;
  }

  /** Measures and lays out again after any change of size, rows or theme. */
  function refresh(): void {
    rows = layOut(fleet, options());
    const total = rows.top[rows.item.length] ?? 0;
    spacer.style.height = `${Math.max(0, total - scroller.clientHeight)}px`;
    view = { ...view, right: Math.max(NAMES_WIDTH + 50, scroller.clientWidth - MARGIN) };
    scroller.dataset.rows = String(rows.runners);
    for (const button of document.querySelectorAll<HTMLButtonElement>('#heights button'))
      button.setAttribute('aria-pressed', String(Number(button.dataset.height) === rowHeight));
    if (runners.count > 0 && rows.runners === 0)
      showMessage('Nothing found', 'No instance and no job has this text.', CHARTS.height);
    else element('message').hidden = runners.count > 0;
    element('fold').textContent = collapsed.size > 0 ? 'Unfold groups' : 'Fold groups';
    redraw();
  }

  function setView(next: { t0: number; t1: number }): void {
    view = { ...view, ...next };
    redraw();
  }

  function retheme(): void {
    theme = readTheme(devicePixelRatio);
    drawLegend(element('legend'), theme);
    redraw();
  }

  function zoomBy(factor: number, around = (view.t0 + view.t1) / 2): void {
    setView(zoom(view, factor, around, fleet.span));
  }

  function pan(share: number): void {
    const by = (view.t1 - view.t0) * share;
    setView(limit({ t0: view.t0 + by, t1: view.t1 + by }, fleet.span));
  }

  // What is under the pointer.

  function factsOf(item: number, x: number): Facts[] {
    if (item >= 0) return rowFacts(fleet, item, notes.get(item) ?? [], view, x);
    return [figuresAt(groups[-1 - item]?.id ?? '', chartOf(-1 - item), toTime(view, x))];
  }

  function point(event: PointerEvent, facts: Facts[]): void {
    const box = plot.getBoundingClientRect();
    const x = event.clientX - box.left;
    cursor.hidden = x < view.left || x > view.right;
    cursor.style.left = `${x}px`;
    const label = cursor.firstElementChild as HTMLElement;
    const step = (view.t1 - view.t0) / (view.right - view.left) < 50 ? 100 : 1000;
    label.textContent = clockText(fleet.from + Math.round(toTime(view, x)), step).slice(
      0,
      step === 100 ? 10 : 8,
    );
    label.style.top = `${CHARTS.axis - 9}px`;
    if (facts.length === 0 || x < view.left) {
      tip.hidden = facts.length === 0 || x < view.left;
      if (tip.hidden) return;
    }
    showFacts(tip, ...facts);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left =
      event.clientX + 16 + width > innerWidth - 8 ? event.clientX - 16 - width : event.clientX + 16;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, Math.min(event.clientY + 14, innerHeight - height - 8))}px`;
  }

  function unpoint(): void {
    tip.hidden = true;
    cursor.hidden = true;
    if (hovered === -1) return;
    hovered = -1;
    redraw();
  }

  // The charts: a drag shows that time; in the overview it moves the part that is shown.

  let drag: { from: number; kind: 'brush' | 'overview' } | undefined;

  const xIn = (event: PointerEvent | WheelEvent | MouseEvent) =>
    event.clientX - plot.getBoundingClientRect().left;
  const yIn = (event: PointerEvent) => event.clientY - charts.getBoundingClientRect().top;

  function centre(x: number): void {
    const whole: View = { ...view, ...fit(fleet.span) };
    const half = (view.t1 - view.t0) / 2;
    const t = toTime(whole, x);
    setView(limit({ t0: t - half, t1: t + half }, fleet.span));
  }

  charts.addEventListener('pointerdown', (event) => {
    const isOverview = yIn(event) <= CHARTS.overview.bottom;
    drag = { from: xIn(event), kind: isOverview ? 'overview' : 'brush' };
    charts.setPointerCapture(event.pointerId);
    if (isOverview) centre(drag.from);
  });
  charts.addEventListener('pointermove', (event) => {
    const x = xIn(event);
    if (drag?.kind === 'overview') centre(x);
    if (drag?.kind === 'brush') {
      const [left, right] = [
        Math.max(view.left, Math.min(x, drag.from)),
        Math.min(view.right, Math.max(x, drag.from)),
      ];
      brush.hidden = false;
      brush.style.left = `${left}px`;
      brush.style.width = `${Math.max(0, right - left)}px`;
      brush.style.top = `${CHARTS.axis - 10}px`;
      brush.style.bottom = '0';
    }
    const facts = drag || x < view.left ? undefined : chartsFacts(fleet, all, view, x, yIn(event));
    point(event, facts ? [facts] : []);
  });
  charts.addEventListener('pointerup', (event) => {
    const x = xIn(event);
    if (drag?.kind === 'brush' && Math.abs(x - drag.from) > 6) {
      const [from, to] = [Math.min(x, drag.from), Math.max(x, drag.from)];
      setView(
        limit(
          { t0: toTime(view, Math.max(from, view.left)), t1: toTime(view, Math.min(to, view.right)) },
          fleet.span,
        ),
      );
    }
    drag = undefined;
    brush.hidden = true;
  });
  charts.addEventListener('pointerleave', unpoint);
  charts.addEventListener('dblclick', () => setView(fit(fleet.span)));

  // The rows: a drag moves in time, a click selects.

  let hold: { x: number; t0: number; t1: number; moved: boolean } | undefined;

  function itemAt(event: PointerEvent): { row: number; item: number } | undefined {
    const y = event.clientY - scroller.getBoundingClientRect().top + scroller.scrollTop;
    const row = rowAt(rows, y);
    const item = rows.item[row];
    return item === undefined ? undefined : { row, item };
  }

  rowsCanvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    hold = { x: xIn(event), t0: view.t0, t1: view.t1, moved: false };
    rowsCanvas.setPointerCapture(event.pointerId);
  });
  rowsCanvas.addEventListener('pointermove', (event) => {
    if (hold && event.buttons === 0) hold = undefined;
    if (hold && (hold.moved || Math.abs(xIn(event) - hold.x) > 4)) {
      hold.moved = true;
      const by = ((hold.x - xIn(event)) / (view.right - view.left)) * (hold.t1 - hold.t0);
      setView(limit({ t0: hold.t0 + by, t1: hold.t1 + by }, fleet.span));
      unpoint();
      return;
    }
    const at = itemAt(event);
    const next = at && at.item >= 0 ? at.item : -1;
    if (next !== hovered) {
      hovered = next;
      redraw();
    }
    rowsCanvas.style.cursor = at ? 'pointer' : 'default';
    point(event, at ? factsOf(at.item, xIn(event)) : []);
  });
  rowsCanvas.addEventListener('pointerup', (event) => {
    const wasMoved = hold?.moved;
    hold = undefined;
    const at = itemAt(event);
    if (wasMoved || !at) return;
    if (at.item >= 0) {
      select(at.item);
      openDetails(at.item);
    } else fold(-1 - at.item);
  });
  rowsCanvas.addEventListener('pointerleave', unpoint);

  function fold(g: number): void {
    if (!collapsed.delete(g)) collapsed.add(g);
    refresh();
  }

  for (const target of [charts, scroller]) {
    target.addEventListener(
      'wheel',
      (event) => {
        if (event.ctrlKey || event.metaKey) {
          event.preventDefault();
          zoomBy(Math.exp(Math.min(60, Math.max(-60, event.deltaY)) / 180), toTime(view, xIn(event)));
        } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
          event.preventDefault();
          pan((event.deltaX || event.deltaY) / (view.right - view.left));
        }
      },
      { passive: false },
    );
  }
  scroller.addEventListener('scroll', () => {
    tip.hidden = true;
    redraw();
  });

  // Selection and details.

  function select(i: number): void {
    selected = i;
    const at = rows.item.indexOf(i);
    if (at >= 0) {
      const [top, bottom] = [rows.top[at] ?? 0, (rows.top[at] ?? 0) + rowHeight];
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (bottom > scroller.scrollTop + scroller.clientHeight)
        scroller.scrollTop = bottom - scroller.clientHeight;
    }
    const count = (runners.job[i + 1] ?? 0) - (runners.job[i] ?? 0);
    live.textContent = `${runners.id[i]}, group ${groups[runners.group[i] ?? 0]?.id}, ${plural(count, 'job')}`;
    redraw();
  }

  function openDetails(i: number): void {
    showRunner(details, fleet, i, notes.get(i) ?? [], {
      close: closeDetails,
      show: (from, to) =>
        setView(limit({ t0: from - (to - from) * 0.05, t1: to + (to - from) * 0.05 }, fleet.span)),
    });
    details.hidden = false;
    details.scrollTop = 0;
  }

  function closeDetails(): void {
    details.hidden = true;
    scroller.focus();
  }

  /** @param by rows to move by; headers of groups are passed over */
  function move(by: number): void {
    const shown = [...rows.item].filter((item) => item >= 0);
    if (shown.length === 0) return;
    const at = shown.indexOf(selected);
    const first = shown.findIndex(
      (item) => item >= (rows.item[Math.max(0, rowAt(rows, scroller.scrollTop))] ?? 0),
    );
    const next = at < 0 ? Math.max(0, first) : Math.min(shown.length - 1, Math.max(0, at + by));
    select(shown[next] ?? 0);
    if (!details.hidden) openDetails(selected);
  }

  const keys: Record<string, () => void> = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    PageDown: () => move(Math.max(1, Math.floor(scroller.clientHeight / rowHeight) - 1)),
    PageUp: () => move(-Math.max(1, Math.floor(scroller.clientHeight / rowHeight) - 1)),
    Home: () => move(Number.NEGATIVE_INFINITY),
    End: () => move(Number.POSITIVE_INFINITY),
    ArrowLeft: () => pan(-0.1),
    ArrowRight: () => pan(0.1),
    Enter: () => {
      if (selected >= 0) openDetails(selected);
    },
  };
  scroller.addEventListener('keydown', (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  const anywhere: Record<string, () => void> = {
    '+': () => zoomBy(1 / 1.5),
    '=': () => zoomBy(1 / 1.5),
    '-': () => zoomBy(1.5),
    '0': () => setView(fit(fleet.span)),
    '/': () => query.focus(),
    '?': () => element<HTMLDialogElement>('help').showModal(),
  };
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !element<HTMLDialogElement>('help').open) {
      if (!details.hidden) closeDetails();
      else if (query.value !== '') {
        query.value = '';
        find();
      }
      return;
    }
    const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = anywhere[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // The bar.

  function find(): void {
    found = search(fleet, query.value);
    element('found').textContent = found
      ? `${plural(found.runnerCount, 'runner')}${found.jobCount > 0 ? `, ${plural(found.jobCount, 'job')}` : ''}`
      : '';
    scroller.scrollTop = 0;
    refresh();
  }

  let typing: ReturnType<typeof setTimeout> | undefined;
  query.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(find, jobs.id.length > 20_000 ? 150 : 0);
  });
  query.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== 'ArrowDown') return;
    event.preventDefault();
    scroller.focus();
    selected = -1;
    move(1);
  });
  groupSelect.addEventListener('change', () => {
    scroller.scrollTop = 0;
    refresh();
  });
  element('heights').addEventListener('click', (event) => {
    const chosen = (event.target as HTMLElement).dataset.height;
    if (chosen === undefined) return;
    rowHeight = Number(chosen);
    refresh();
  });
  element('fold').addEventListener('click', () => {
    const isFolded = collapsed.size > 0;
    collapsed.clear();
    if (!isFolded) for (const g of groups.keys()) collapsed.add(g);
    scroller.scrollTop = 0;
    refresh();
  });
  element('in').addEventListener('click', () => zoomBy(1 / 1.5));
  element('out').addEventListener('click', () => zoomBy(1.5));
  element('fit').addEventListener('click', () => setView(fit(fleet.span)));
  element('keys').addEventListener('click', () => element<HTMLDialogElement>('help').showModal());

  const prefersDark = matchMedia('(prefers-color-scheme: dark)');
  let chosenTheme: 'light' | 'dark' | undefined;
  const applyTheme = () => {
    const name = chosenTheme ?? (prefersDark.matches ? 'dark' : 'light');
    document.documentElement.dataset.theme = name;
    element('theme').textContent = name === 'dark' ? 'Light' : 'Dark';
    retheme();
  };
  element('theme').addEventListener('click', () => {
    chosenTheme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
    applyTheme();
  });
  prefersDark.addEventListener('change', applyTheme);

  for (const [g, { id }] of groups.entries()) groupSelect.append(new Option(id, String(g)));
  showHeader(fleet);
  applyTheme();
  refresh();
  if (runners.count === 0)
    showMessage(
      'No runner in this recording',
      'No instance was launched or seen in its time. Choose another time range or source.',
    );
  new ResizeObserver(refresh).observe(scroller);
  paint();
  document.documentElement.dataset.drawn = String(Math.round(performance.now()));
}

/** Sizes a canvas for the resolution of the screen. */
function context(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const scale = devicePixelRatio;
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.height = `${height}px`;
  }
  const draw = canvas.getContext('2d');
  if (!draw) throw new Error('this browser has no canvas');
  draw.setTransform(scale, 0, 0, scale, 0, 0);
  return draw;
}

readData()
  .then(start)
  .catch((error: unknown) => {
    showMessage('The recording cannot be shown', String(error));
    throw error;
  });
