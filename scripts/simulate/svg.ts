import type { Measures } from './measures.ts';
import type { Summary } from './simulate.ts';

const WIDTH = 900;
const HEIGHT = 300;
const LEFT = 60;
const TOP = 64;
const BOTTOM = 36;

const LINES = [
  { name: 'instances', colour: '#94a3b8' },
  { name: 'running', colour: '#2563eb' },
  { name: 'queued', colour: '#d97706' },
] as const;

/** A summary of a simulation: instances, running jobs and waiting jobs by hour, and the figures that matter. */
export function summarySvg(summary: Summary, hours: Measures['perHour']): string {
  const most = Math.max(
    1,
    ...hours.map(({ instances, running, queued }) => Math.max(instances, running, queued)),
  );
  const x = (hour: number) => LEFT + (hour / Math.max(1, hours.length - 1)) * (WIDTH - LEFT - 16);
  const y = (value: number) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
  const { jobs, waitSeconds, instances } = summary;
  const title = `${summary.groups} groups, at most ${summary.runners} runners, ${summary.hours} hours, seed ${summary.seed}`;
  const figures =
    `${jobs.done} jobs done, ${jobs.killed} killed, ${jobs.lost} lost · wait p50 ${waitSeconds.p50} s, p99 ${waitSeconds.p99} s · ` +
    `${instances.hours} instance hours, ${instances.ratio} x the optimum`;
  const lines = LINES.map(({ name, colour }) => {
    const points = hours
      .map((values, hour) => `${x(hour).toFixed(1)},${y(values[name]).toFixed(1)}`)
      .join(' ');
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points}"/>`;
  });
  const legend = LINES.map(
    ({ name, colour }, index) =>
      `<text x="${LEFT + index * 110}" y="54" fill="${colour}" font-size="12">${name}</text>`,
  );
  const grid = [0, 0.5, 1].map((share) => {
    const value = Math.round(most * share);
    return (
      `<line x1="${LEFT}" x2="${WIDTH - 16}" y1="${y(value)}" y2="${y(value)}" stroke="#e2e8f0"/>` +
      `<text x="${LEFT - 8}" y="${y(value) + 4}" font-size="11" text-anchor="end" fill="#475569">${value}</text>`
    );
  });
  const days = hours.flatMap((_, hour) =>
    (hour + 1) % 24 === 12
      ? [
          `<text x="${x(hour)}" y="${HEIGHT - 12}" font-size="11" text-anchor="middle" fill="#475569">day ${Math.ceil((hour + 1) / 24)}</text>`,
        ]
      : [],
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" role="img" aria-label="${title}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="16" y="20" font-size="14" font-weight="600" fill="#0f172a">${title}</text>`,
    `<text x="16" y="37" font-size="12" fill="#334155">${figures}</text>`,
    ...grid,
    ...lines,
    ...legend,
    ...days,
    '</svg>',
    '',
  ].join('\n');
}
