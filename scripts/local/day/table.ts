/** How a step of the day ended, with the figure that matters about it. */
export type Row = { step: string; seconds: number; figure: string; outcome: 'ok' | 'failed' | 'not run' };

/** The table that the day ends with, one line a step. */
export function renderTable(rows: readonly Row[]): string {
  const header = { step: 'step', seconds: 'seconds', figure: 'figure', outcome: 'outcome' };
  const cells = rows.map((row) => ({ ...row, seconds: row.seconds.toFixed(1) }));
  const width = (key: keyof typeof header) =>
    Math.max(header[key].length, ...cells.map((row) => row[key].length));
  const line = (row: Record<keyof typeof header, string>) =>
    [
      row.step.padEnd(width('step')),
      row.seconds.padStart(width('seconds')),
      row.figure.padEnd(width('figure')),
      row.outcome,
    ].join('  ');
  const rule = line({
    step: '-'.repeat(width('step')),
    seconds: '-'.repeat(width('seconds')),
    figure: '-'.repeat(width('figure')),
    outcome: '-'.repeat(width('outcome')),
  });
  return [line(header), rule, ...cells.map(line)].join('\n');
}

/** `1.2 MB`, in powers of 1000. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `14,135`. */
export function countText(count: number): string {
  return count.toLocaleString('en-US');
}
