/** The outcome of one step, with its most important result. */
export type Row = { step: string; seconds: number; result: string; outcome: 'ok' | 'failed' | 'not run' };

/** The table at the end of the demo, one line per step. */
export function renderTable(rows: readonly Row[]): string {
  const header = { step: 'step', seconds: 'seconds', result: 'result', outcome: 'outcome' };
  const cells = rows.map((row) => ({ ...row, seconds: row.seconds.toFixed(1) }));
  const width = (key: keyof typeof header) =>
    Math.max(header[key].length, ...cells.map((row) => row[key].length));
  const line = (row: Record<keyof typeof header, string>) =>
    [
      row.step.padEnd(width('step')),
      row.seconds.padStart(width('seconds')),
      row.result.padEnd(width('result')),
      row.outcome,
    ].join('  ');
  const rule = line({
    step: '-'.repeat(width('step')),
    seconds: '-'.repeat(width('seconds')),
    result: '-'.repeat(width('result')),
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
