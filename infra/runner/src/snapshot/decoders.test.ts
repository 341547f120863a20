import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('threads without a niceness keep that of the process', () => {
  // The niceness is field 19 of stat; the name before it can have spaces (proc(5)).
  const program = `
    import { readdirSync, readFileSync } from 'node:fs';
    const { startDecoders } = await import(process.argv[1]);
    const decoders = startDecoders({ count: 2, hasReaders: false }, {});
    const frame = { stored: new Uint8Array(new SharedArrayBuffer(1)), sha256: Buffer.alloc(32), writes: [], frameUnits: 1 };
    await Promise.all([1, 2, 3, 4].map((number) => decoders.run(number, frame, false)));
    const stats = readdirSync('/proc/self/task').map((task) => readFileSync('/proc/self/task/' + task + '/stat', 'utf8'));
    console.log([...new Set(stats.map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]))].join());
    await decoders.close();`;
  const output = execFileSync(
    'nice',
    [
      '-n',
      '3',
      process.execPath,
      '--input-type=module',
      '-e',
      program,
      join(import.meta.dirname, 'decoders.ts'),
    ],
    { encoding: 'utf8' },
  );
  const own = Number(execFileSync('nice', { encoding: 'utf8' }));
  expect(Number(output)).toBe(Math.min(19, own + 3));
});
