import { figure, type Row } from './report.ts';

const WIDTH = 760;
const LABELS = 300;
const BAR = 18;
const GAP = 26;
const TOP = 64;

/** A picture of a benchmark: for each comparison our side and the other's, on one scale, and the goal as a line. */
export function svg(title: string, subtitle: string, rows: readonly Row[]): string {
  const height = TOP + rows.length * (2 * BAR + GAP) + 10;
  const most = Math.max(1, ...rows.map((row) => row.ratio));
  const scale = (ratio: number) => Math.max(1, (ratio / most) * (WIDTH - LABELS - 110));
  const body = rows.map((row, index) => {
    const y = TOP + index * (2 * BAR + GAP);
    const goal = LABELS + scale(row.goal);
    return [
      text(LABELS - 10, y + 13, row.what, 'end', 'bold'),
      text(LABELS - 10, y + BAR + 13, row.against, 'end'),
      bar(y, scale(row.ratio), row.ratio <= row.goal ? '#2f855a' : '#c05621'),
      text(LABELS + scale(row.ratio) + 6, y + 13, `${row.ratio.toFixed(2)} (${figure(row.ours, row.unit)})`),
      bar(y + BAR, scale(1), '#a0aec0'),
      text(LABELS + scale(1) + 6, y + BAR + 13, `1 (${figure(row.theirs, row.unit)})`),
      `<line x1="${goal}" x2="${goal}" y1="${y - 4}" y2="${y + BAR + 2}" stroke="#2d3748" stroke-dasharray="3 2"/>`,
    ].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#ffffff"/>
${text(16, 26, title, 'start', 'bold')}
${text(16, 46, subtitle)}
${body.join('\n')}
</svg>
`;
}

function bar(y: number, width: number, colour: string): string {
  return `<rect x="${LABELS}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 2}" fill="${colour}"/>`;
}

function text(x: number, y: number, words: string, anchor = 'start', weight = 'normal'): string {
  return `<text x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}" font-weight="${weight}" fill="#1a202c">${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
