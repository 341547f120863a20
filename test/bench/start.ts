import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { batchOf, FIRST_EVENTS } from './first-events.ts';
import { buildVariants } from './variants.ts';

/**
 * `npm run bench:start`: what a cold start costs. Every round starts each program once, in turn, so that a machine that gets
 * slower or faster does so for all of them; the figures are medians of ratios within a round.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 25);

/** A program that reports the processor time of its process, in microseconds. */
const REPORT = "const u=process.cpuUsage();process.stdout.write('\\n@'+(u.user+u.system));process.exit(0)";

type Sample = { wallMs: number; cpuMs: number };

function start(file: string | undefined, env: Record<string, string>): Sample {
  const began = performance.now();
  const result = spawnSync(process.execPath, file === undefined ? ['-e', REPORT] : [file], {
    env: { PATH: process.env.PATH ?? '', ...env },
    encoding: 'utf8',
  });
  const wallMs = performance.now() - began;
  const cpu = /@(\d+)\s*$/.exec(result.stdout)?.[1];
  if (cpu === undefined) throw new Error(`${file}: ${result.stderr}\n${result.stdout}`);
  return { wallMs, cpuMs: Number(cpu) / 1000 };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

const root = resolve(import.meta.dirname, '../..');
const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-'));
try {
  const rows = [];
  for (const [name, { env, body }] of Object.entries(FIRST_EVENTS)) {
    const files = await buildVariants(root, folder, name);
    const event = JSON.stringify(batchOf(body));
    const program = async (label: string, source: string) => {
      const file = join(folder, `${name}-${label}`);
      await writeFile(file, source);
      return file;
    };
    const cjs = `require(${JSON.stringify(files.ours)})`;
    const esm = (path: string) => `await import(${JSON.stringify(pathToFileURL(path).href)})`;
    const programs = {
      bare: undefined,
      import: await program('import.cjs', `${cjs};${REPORT}`),
      ours: await program('ours.cjs', `${cjs}.handler(${event},{}).then(()=>{${REPORT}})`),
      usual: await program('usual.mjs', `const m=${esm(files.usual)};await m.handler(${event},{});${REPORT}`),
      plain: await program(
        'plain.mjs',
        `const m=${esm(files.usualWithoutZod)};await m.handler(${event},{});${REPORT}`,
      ),
    };
    const rounds = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      rounds.push({
        bare: start(programs.bare, env),
        import: start(programs.import, env),
        ours: start(programs.ours, env),
        usual: start(programs.usual, env),
        plain: start(programs.plain, env),
      });
    }
    rows.push({
      function: name,
      importOverBare: median(rounds.map((round) => round.import.wallMs / round.bare.wallMs)),
      cpuOfUsual: median(rounds.map((round) => round.ours.cpuMs / round.usual.cpuMs)),
      cpuOfUsualWithoutZod: median(rounds.map((round) => round.ours.cpuMs / round.plain.cpuMs)),
      bareMs: median(rounds.map((round) => round.bare.wallMs)),
      importMs: median(rounds.map((round) => round.import.wallMs)),
    });
  }
  const figure = (value: number) => value.toFixed(2).padStart(12);
  console.log(`node ${process.version}, ${ROUNDS} interleaved rounds, medians`);
  console.log('function      import/bare   cpu/usual  cpu/no zod    bare ms   import ms');
  for (const row of rows) {
    const numbers = [row.importOverBare, row.cpuOfUsual, row.cpuOfUsualWithoutZod].map(figure).join('');
    console.log(
      `${row.function.padEnd(12)}${numbers}${row.bareMs.toFixed(1).padStart(11)}${row.importMs.toFixed(1).padStart(12)}`,
    );
  }
  console.log('goals               <= 2.40     <= 0.45');
  console.log(
    JSON.stringify({
      bench: 'start',
      rounds: ROUNDS,
      goals: { importOverBare: 2.4, cpuOfUsual: 0.45 },
      rows,
    }),
  );
} finally {
  await rm(folder, { recursive: true });
}
