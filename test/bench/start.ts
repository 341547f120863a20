import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { FIRST_EVENTS } from './first-events.ts';
import { median } from './median.ts';
import { start, writePrograms } from './programs.ts';

/**
 * `npm run bench:start`: what a cold start costs. Every round starts each program once, in turn, so that a processor that gets
 * slower or faster does so for all of them; the figures are medians of ratios within a round. BENCH_ROUNDS sets the rounds.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 21);

const GOALS = { importOverBare: 2.4, cpuOfUsual: 0.45 };

type Row = {
  function: string;
  /** Wall time of importing the bundle, as a multiple of a bare Node's. */
  importOverBare: number;
  /** Processor time of the import and a first event that is skipped, as a share of the usual bundle's. */
  cpuOfUsual: number;
  /** The same with a first event that calls AWS. */
  cpuOfUsualBusy: number;
  bareMs: number;
  importMs: number;
};

async function measure(name: string, folder: string, awsUrl: string): Promise<Row> {
  const root = resolve(import.meta.dirname, '../..');
  const queue = (queueName: string) => `${awsUrl}/123456789012/${queueName}`;
  const env = {
    ...FIRST_EVENTS[name]?.env,
    AWS_ENDPOINT_URL: awsUrl,
    INBOX_URL: queue('inbox'),
    DEAD_LETTER_URL: queue('dead'),
    REPORTS_URL: queue('reports'),
  };
  const programs = await writePrograms(root, folder, name);
  const rounds = Array.from({ length: ROUNDS }, () => {
    const round = {
      bare: start(programs.bare, env),
      import: start(programs.import, env),
      ours: start(programs.ours, env),
      usual: start(programs.usual, env),
      oursBusy: start(programs.oursBusy, env),
      usualBusy: start(programs.usualBusy, env),
    };
    // The figures compare nothing unless both bundles did the same.
    if (round.ours.outcome !== round.usual.outcome || round.oursBusy.outcome !== round.usualBusy.outcome) {
      throw new Error(`${name}: the bundles disagree: ${JSON.stringify(round)}`);
    }
    return round;
  });
  return {
    function: name,
    importOverBare: median(rounds.map((round) => round.import.wallMs / round.bare.wallMs)),
    cpuOfUsual: median(rounds.map((round) => round.ours.cpuMs / round.usual.cpuMs)),
    cpuOfUsualBusy: median(rounds.map((round) => round.oursBusy.cpuMs / round.usualBusy.cpuMs)),
    bareMs: median(rounds.map((round) => round.bare.wallMs)),
    importMs: median(rounds.map((round) => round.import.wallMs)),
  };
}

const endpoint = spawn(process.execPath, [join(import.meta.dirname, 'endpoint.ts')], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-'));
try {
  const [address] = await once(endpoint.stdout, 'data');
  console.log(`node ${process.version}, ${ROUNDS} interleaved rounds, medians`);
  console.log('function      import/bare   cpu/usual   ditto, calling AWS   bare ms   import ms');
  const rows: Row[] = [];
  for (const name of Object.keys(FIRST_EVENTS)) {
    const row = await measure(name, folder, String(address).trim());
    rows.push(row);
    const cells = [
      name.padEnd(12),
      row.importOverBare.toFixed(2).padStart(13),
      row.cpuOfUsual.toFixed(2).padStart(12),
      row.cpuOfUsualBusy.toFixed(2).padStart(21),
      row.bareMs.toFixed(1).padStart(10),
      row.importMs.toFixed(1).padStart(12),
    ];
    console.log(cells.join(''));
  }
  console.log(
    `${'goal'.padEnd(12)}${`<= ${GOALS.importOverBare}`.padStart(13)}${`<= ${GOALS.cpuOfUsual}`.padStart(12)}`,
  );
  console.log(JSON.stringify({ bench: 'start', rounds: ROUNDS, goals: GOALS, rows }));
} finally {
  endpoint.stdin.end();
  await rm(folder, { recursive: true });
}
