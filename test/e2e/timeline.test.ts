import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { TimelineEvent } from '../../scripts/timeline/events.ts';
import { foldEvents } from '../../scripts/timeline/fleet.ts';
import { writePage } from '../../scripts/timeline/page.ts';
import { type BrowserPage, openBrowser } from '../support/browser.ts';
import { whyMissing } from '../support/packages.ts';
import { HOSTILE_NAME, sampleEvents } from '../support/timeline-events.ts';

/** The page of the timeline in a real browser, without a network. */
const why = await whyMissing({ chromium: 'chromium' });
if (why !== undefined) console.warn(`the page of the timeline is not tested: ${why}`);

let folder: string;
let browser: BrowserPage;
const drawn = `document.documentElement.dataset.drawn !== undefined`;
const text = (id: string) => browser.evaluate<string>(`document.getElementById('${id}').textContent`);
const rows = () => browser.evaluate<string>(`document.getElementById('scroller').dataset.rows`).then(Number);
const view = () => browser.evaluate<string>(`document.getElementById('scroller').dataset.view`);
const tip = () =>
  browser.evaluate<string>(
    `document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent`,
  );

/** Colours of the canvas of the rows: an empty one has one. */
const colours = () =>
  browser.evaluate<number>(`(() => {
    const canvas = document.getElementById('rows');
    const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return new Set(data).size;
  })()`);

async function show(events: readonly TimelineEvent[], name = 'page'): Promise<void> {
  const file = join(folder, `${name}.html`);
  await writePage(file, events);
  await browser.open(file);
  await browser.until(drawn);
}

describe.skipIf(why !== undefined)('the page', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hearth-timeline-'));
    browser = await openBrowser();
    await browser.resize(1400, 900);
  }, 300_000);
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });
  afterEach(() => {
    expect(browser.problems.splice(0)).toEqual([]);
  });

  describe('of a morning', () => {
    const events = sampleEvents({ runners: 50, groups: 3, hours: 3 });
    const fleet = foldEvents(events);
    const [group] = fleet.groups;
    const [runner] = group?.runners ?? [];
    const place = () =>
      browser.evaluate<{ left: number; top: number; width: number }>(
        `(() => { const { left, top, width } = document.getElementById('scroller').getBoundingClientRect(); return { left, top, width }; })()`,
      );
    beforeEach(() => show(events));

    test('draws every runner, and has the figures at the top', async () => {
      expect(await rows()).toBe(fleet.figures.runners);
      expect(await colours()).toBeGreaterThan(8);
      expect(await text('figures')).toContain(`jobs${fleet.figures.jobs}`.slice(0, 4));
      const figures = await browser.evaluate<string[]>(
        `[...document.querySelectorAll('.figure-value')].map((one) => one.textContent)`,
      );
      expect(figures.slice(0, 3)).toEqual(
        [fleet.figures.runners, fleet.figures.jobs, fleet.figures.killed].map(String),
      );
    });

    test('a search shows the runners with that job, and nothing else', async () => {
      await browser.press('/');
      await browser.type('postgres');
      const jobs = fleet.groups
        .flatMap(({ runners }) => runners)
        .map((one) => one.jobs.filter(({ name }) => name.includes('postgres')));
      const found = jobs.filter((one) => one.length > 0).length;
      await browser.until(`document.getElementById('found').textContent !== ''`);
      await browser.until(`document.getElementById('scroller').dataset.rows === '${found}'`);
      expect(await text('found')).toBe(`${found} runners, ${jobs.flat().length} jobs`);
      await browser.press('Escape');
      await browser.until(`document.getElementById('scroller').dataset.rows === '${fleet.figures.runners}'`);
    });

    test('the pointer on a job shows its name, its wait and its length', async () => {
      const { left, top, width } = await place();
      const [t0 = 0, t1 = 0] = (await view()).split(' ').map(Number);
      const [job] = runner?.jobs ?? [];
      const middle = ((job?.startedAt ?? 0) + (job?.finishedAt ?? 0)) / 2 - fleet.from;
      // Names at the left take 214 pixels, the margin at the right 16; a header is 84 high, the first row 24.
      const x = left + 214 + ((middle - t0) / (t1 - t0)) * (width - 230);
      await browser.mouse('mouseMoved', x, top + 84 + 12);
      await browser.until(`!document.getElementById('tip').hidden`);
      const shown = await tip();
      expect(shown).toContain(job?.name ?? 'no job');
      expect(shown).toContain(runner?.id ?? 'no runner');
      expect(shown).toContain('waited');
    });

    test('keys: zoom, move, select, details', async () => {
      const before = await view();
      await browser.press('+');
      await browser.until(`document.getElementById('scroller').dataset.view !== '${before}'`);
      await browser.press('0');
      await browser.until(`document.getElementById('scroller').dataset.view === '${before}'`);
      await browser.evaluate(`document.getElementById('scroller').focus()`);
      await browser.press('ArrowDown');
      await browser.until(`document.getElementById('live').textContent !== ''`);
      expect(await text('live')).toContain(runner?.id ?? 'no runner');
      await browser.press('Enter');
      await browser.until(`!document.getElementById('details').hidden`);
      const details = await text('details');
      expect(details).toContain('booting');
      for (const { name } of runner?.jobs ?? []) expect(details).toContain(name);
      await browser.press('Escape');
      await browser.until(`document.getElementById('details').hidden`);
    });

    test('a drag in the charts shows that time', async () => {
      const before = await view();
      const { left, top } = await place();
      await browser.mouse('mouseMoved', left + 500, top - 100);
      await browser.mouse('mousePressed', left + 500, top - 100);
      await browser.mouse('mouseMoved', left + 700, top - 100);
      await browser.mouse('mouseReleased', left + 700, top - 100);
      await browser.until(`document.getElementById('scroller').dataset.view !== '${before}'`);
      const length = (range: string) =>
        range
          .split(' ')
          .map(Number)
          .reduce((from, to) => to - from);
      expect(length(await view()) / length(before)).toBeCloseTo(200 / (1400 - 230), 1);
    });

    test('light and dark', async () => {
      const background = () => browser.evaluate<string>(`getComputedStyle(document.body).backgroundColor`);
      await browser.prefer('light');
      await browser.until(`document.documentElement.dataset.theme === 'light'`);
      const light = await background();
      await browser.prefer('dark');
      await browser.until(`document.documentElement.dataset.theme === 'dark'`);
      expect(await background()).not.toBe(light);
      await browser.prefer('light');
    });
  });

  test('what jobs and runners write stays text', async () => {
    const group = 'gha/default';
    await show([
      { event: 'timeline', version: 1, title: HOSTILE_NAME, source: HOSTILE_NAME },
      { event: 'launch', at: 0, runner: 'i-1', group },
      { event: 'in-service', at: 1_000, runner: 'i-1' },
      {
        event: 'job',
        id: HOSTILE_NAME,
        name: HOSTILE_NAME,
        runner: 'i-1',
        group,
        startedAt: 2_000,
        finishedAt: 9_000,
        result: 'succeeded',
      },
      { event: 'note', at: 3_000, level: 'error', text: HOSTILE_NAME, runner: 'i-1' },
      { event: 'end', at: 10_000, runner: 'i-1', why: HOSTILE_NAME },
    ]);
    await browser.evaluate(`document.getElementById('scroller').focus()`);
    await browser.press('ArrowDown');
    await browser.press('Enter');
    await browser.until(`!document.getElementById('details').hidden`);
    expect(await text('details')).toContain(HOSTILE_NAME);
    expect(await browser.evaluate(`document.querySelectorAll('img').length + document.scripts.length`)).toBe(
      2,
    );
  });

  test('a recording without a runner, and data that cannot be read', async () => {
    await show([]);
    expect(await text('message')).toContain('No runner in this recording');
    const file = join(folder, 'broken.html');
    await writeFile(
      file,
      (await readFile(join(folder, 'page.html'), 'utf8')).replace(/(octet-stream">).{40}/, '$1AAAA'),
    );
    await browser.open(file);
    await browser.until(`document.getElementById('message').textContent.includes('cannot be shown')`);
    // The error is in the console too, for whoever reports it.
    // It reaches the test through a message of its own, which can come later than the text on the page.
    await vi.waitFor(() => expect(browser.problems.join()).toContain('exception'), { timeout: 60_000 });
    browser.problems.splice(0);
  });

  test('ten thousand runners', async () => {
    const events = sampleEvents({ runners: 10_000, groups: 40, hours: 8 });
    await show(events, 'large');
    expect(await rows()).toBe(10_000);
    expect(await colours()).toBeGreaterThan(4);
    const last = foldEvents(events).groups.at(-1)?.runners.at(-1)?.id ?? '';
    await browser.press('/');
    await browser.type(last);
    await browser.until(`document.getElementById('scroller').dataset.rows === '1'`);
  });
});

describe('the command', () => {
  let place: string;
  beforeAll(async () => {
    place = await mkdtemp(join(tmpdir(), 'hearth-timeline-'));
  });
  afterAll(() => rm(place, { recursive: true, force: true }));

  const run = (...args: string[]) =>
    new Promise<{ code: number; output: string }>((done) => {
      const program = resolve(import.meta.dirname, '../../scripts/timeline/main.ts');
      execFile(process.execPath, [program, ...args], (error, stdout, stderr) =>
        done({ code: Number(error?.code ?? 0), output: stdout + stderr }),
      );
    });

  test('writes a page and its events, which make the same page again', async () => {
    const file = join(place, 'events.jsonl');
    const lines = sampleEvents({ runners: 10, groups: 2, hours: 1 }).map((event) => JSON.stringify(event));
    await writeFile(file, lines.join('\n'));
    const [page, again, copy] = ['a.html', 'b.html', 'copy.jsonl'].map((name) => join(place, name)) as [
      string,
      string,
      string,
    ];
    expect(await run(file, '--out', page, '--events', copy)).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^10 runners, \d+ jobs, 0\.\d+ MB: .*a\.html\n$/),
    });
    expect(await run(copy, '--out', again)).toMatchObject({ code: 0 });
    expect(await readFile(again, 'utf8')).toBe(await readFile(page, 'utf8'));
  });

  test.each([
    [['nowhere.jsonl'], 1, /nowhere\.jsonl does not exist: npm start writes/],
    [[], 2, /name one source\n\nUsage: npm run timeline/],
    [['cloudwatch:'], 2, /is no prefix of a deployment/],
    [['cloudwatch:aw', '--from', 'yesterday'], 2, /--from yesterday is no time: write it as/],
    [['cloudwatch:aw', '--from', '2026-11-24', '--to', '2026-11-23'], 2, /--from has to be before --to/],
    [['a.jsonl', '--wrong'], 2, /--wrong/],
  ] as const)('%j ends with %d', async (args, code, message) => {
    const result = await run(...args);
    expect(result).toMatchObject({ code, output: expect.stringMatching(message) });
    expect(result.output).not.toContain('    at ');
  });
});
