import { median } from '../median.ts';

/** One comparison of a benchmark. */
export type Row = {
  what: string;
  /** The other side, which counts as 1. */
  against: string;
  /** Medians, in seconds, or in bytes for a comparison of sizes. */
  ours: number;
  theirs: number;
  /** Median of the ratios within a round. */
  ratio: number;
  goal: number;
  unit: 's' | 'MB';
};

/** @param ours one value a round; `theirs` the same, in the same order */
export function compare(
  names: Pick<Row, 'what' | 'against' | 'goal'> & { unit?: Row['unit'] },
  ours: readonly number[],
  theirs: readonly number[],
): Row {
  if (ours.length !== theirs.length) throw new Error(`${names.what}: the sides have different rounds`);
  return {
    unit: 's',
    ...names,
    ours: median(ours),
    theirs: median(theirs),
    ratio: median(ours.map((value, index) => value / (theirs[index] ?? Number.NaN))),
  };
}

/** The most memory that aw-runner may take, whatever the size of a snapshot, in bytes. */
const MEMORY_GOAL = 300e6;

/** A comparison with the memory that there is for it. */
export function memoryRow(what: string, peakBytes: number): Row {
  return compare({ what, against: 'what it may take', goal: 1, unit: 'MB' }, [peakBytes], [MEMORY_GOAL]);
}

export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.what,
    row.against,
    figure(row.ours, row.unit),
    figure(row.theirs, row.unit),
    row.ratio.toFixed(row.ratio < 0.1 ? 3 : 2),
    `<= ${row.goal}`,
    row.ratio <= row.goal ? 'met' : 'missed',
  ]);
  const head = ['what', 'against', 'ours', 'theirs', 'ratio', 'goal', ''];
  const widths = head.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return [line(head), ...cells.map(line)].join('\n');
}

export function figure(value: number, unit: Row['unit']): string {
  if (unit === 's') return `${value.toFixed(2)} s`;
  return `${(value / 1e6).toFixed(1)} MB`;
}
