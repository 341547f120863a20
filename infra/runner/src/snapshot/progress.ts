/** Least time between two redraws of a bar, in milliseconds. */
const REDRAW_MS = 100;

/** Receives the progress of a transfer. */
export interface Progress {
  /** Begins a step with a total number of bytes. */
  begin(step: string, totalBytes: number): void;
  advance(bytes: number): void;
  /** Ends the step; `note` is its result. */
  end(note?: string): void;
}

/** A bar on a terminal; one line per step in a log. */
export function terminalProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  let step = '';
  let total = 0;
  let done = 0;
  let began = 0;
  let drawn = 0;
  const draw = () => {
    const share = total === 0 ? 1 : Math.min(1, done / total);
    const filled = Math.round(share * 24);
    const bar = '#'.repeat(filled) + '.'.repeat(24 - filled);
    stream.write(`\r${step} [${bar}] ${Math.round(share * 100)} % of ${megabytes(total)}`);
  };
  return {
    begin(name, totalBytes) {
      [step, total, done, began, drawn] = [name, totalBytes, 0, performance.now(), 0];
    },
    advance(bytes) {
      done += bytes;
      if (!stream.isTTY || performance.now() - drawn < REDRAW_MS) return;
      drawn = performance.now();
      draw();
    },
    end(note = '') {
      const seconds = (performance.now() - began) / 1000;
      if (stream.isTTY) stream.write('\r\u001b[K');
      stream.write(`${step}: ${megabytes(done)} in ${seconds.toFixed(1)} s${note && `, ${note}`}\n`);
    },
  };
}

/** No output. */
export const silentProgress: Progress = { begin() {}, advance() {}, end() {} };

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
