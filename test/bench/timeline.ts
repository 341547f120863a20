import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEvent } from '../../scripts/timeline/events.ts';
import { writePage } from '../../scripts/timeline/page.ts';
import { openBrowser } from '../support/browser.ts';
import { sampleEvents } from '../support/timeline-events.ts';
import { median } from './median.ts';

/**
 * `npm run bench:timeline`: the page of the timeline for fleets of different sizes, in headless Chromium (Debian: chromium): its size
 * beside that of its events as JSON lines, the time from the start of the navigation to the first draw, and the time of one redraw
 * after a scroll. The last line is JSON.
 */
const FLEETS = [
  { runners: 100, groups: 4, hours: 12 },
  { runners: 1_000, groups: 10, hours: 12 },
  { runners: 10_000, groups: 40, hours: 12 },
] as const;

const ROUNDS = 5;
const SCROLLS = 60;

/** Median milliseconds of a frame that draws new rows, with the work of the page alone. */
const SCROLL = `(async () => {
  const scroller = document.getElementById('scroller');
  const times = [];
  for (let i = 0; i < ${SCROLLS}; i += 1) {
    scroller.scrollTop = (scroller.scrollHeight * i) / ${SCROLLS};
    scroller.dispatchEvent(new Event('scroll'));
    await new Promise((resolve) => requestAnimationFrame(() => {
      const began = performance.now();
      requestAnimationFrame(() => resolve(times.push(performance.now() - began)));
    }));
  }
  return times.sort((a, b) => a - b)[times.length >> 1];
})()`;

const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-timeline-'));
const browser = await openBrowser();
try {
  await browser.resize(1440, 900);
  const results = [];
  for (const fleet of FLEETS) {
    const events = sampleEvents(fleet).map((event) => parseEvent(event, 'sample'));
    const plain = events.reduce((sum, event) => sum + JSON.stringify(event).length + 1, 0);
    const file = join(folder, `${fleet.runners}.html`);
    const began = performance.now();
    const { bytes, fleet: folded } = await writePage(file, events);
    const writeSeconds = (performance.now() - began) / 1000;
    const draws: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      await browser.open(file);
      await browser.until(`document.documentElement.dataset.drawn !== undefined`);
      draws.push(Number(await browser.evaluate<string>(`document.documentElement.dataset.drawn`)));
    }
    const frameMs = await browser.evaluate<number>(SCROLL);
    const result = {
      runners: fleet.runners,
      jobs: folded.figures.jobs,
      megabytes: Number((bytes / 1e6).toFixed(2)),
      partOfEvents: Number((bytes / plain).toFixed(3)),
      writeSeconds: Number(writeSeconds.toFixed(1)),
      firstDrawMs: Math.round(median(draws)),
      frameMs: Number(frameMs.toFixed(1)),
    };
    console.log(JSON.stringify(result));
    results.push(result);
  }
  console.log(JSON.stringify({ bench: 'timeline', results }));
} finally {
  await browser.close();
  await rm(folder, { recursive: true, force: true });
}
