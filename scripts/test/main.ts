import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Step, steps } from './steps.ts';
import { failures, stepTally, sum, type Tally, tallyText, unstable, vitestTally } from './tally.ts';

/**
 * `npm test`: every check and every test, each step in its own process. A failed step does not stop the later ones, so
 * that one run reports all of them. Arguments choose steps by name: `npm test -- unit infra`.
 */
const REPORTS = '.local/reports';

/** Where the local clouds of end-to-end tests leave the calls that were made in them. The step `permissions` judges them. */
const CALLS = resolve('.local/calls');

async function main(chosen: readonly string[]): Promise<number> {
  const all = steps(REPORTS);
  const unknown = chosen.filter((name) => !all.some((step) => step.name === name));
  if (unknown.length > 0) {
    console.error(`no such step: ${unknown.join(', ')}. Steps: ${all.map((step) => step.name).join(', ')}`);
    return 2;
  }
  rmSync(REPORTS, { recursive: true, force: true });
  mkdirSync(REPORTS, { recursive: true });
  // Of an earlier run, unless this one judges nothing else.
  if (chosen.length === 0 || chosen.some((name) => name === 'agents' || name === 'e2e'))
    rmSync(CALLS, { recursive: true, force: true });

  const results: Result[] = [];
  for (const [first, ...others] of groups(
    all.filter(({ name }) => chosen.length === 0 || chosen.includes(name)),
  )) {
    if (!first) continue;
    const beside = others.map((step) => timed(step, 'pipe'));
    console.log(`\n--- ${first.name}`);
    results.push(await timed(first, 'inherit'));
    for (const result of await Promise.all(beside)) {
      console.log(`\n--- ${result.step.name}\n${result.output}`);
      results.push(result);
    }
  }

  for (const { step, repeated } of results)
    for (const text of repeated)
      console.log(`\n--- passed only when it was repeated, in ${step.name}: ${text}`);
  for (const { step, failed } of results)
    for (const text of failed) console.log(`\n--- failed in ${step.name}: ${text}`);
  const total = sum(results.map((result) => result.tally));
  console.log('');
  for (const { step, tally, seconds } of results) {
    console.log(`${step.name.padEnd(12)} ${`${seconds.toFixed(1)} s`.padStart(8)}  ${tallyText(tally)}`);
  }
  console.log(`\n${tallyText(total)}`);
  return total.failed === 0 ? 0 : 1;
}

type Result = {
  step: Step;
  tally: Tally;
  failed: string[];
  repeated: string[];
  seconds: number;
  output: string;
};

/** Each step with those that run beside it. */
function groups(all: readonly Step[]): Step[][] {
  const found: Step[][] = [];
  for (const step of all) {
    if (step.beside) found.at(-1)?.push(step) ?? found.push([step]);
    else found.push([step]);
  }
  return found;
}

async function timed(step: Step, stdio: 'inherit' | 'pipe'): Promise<Result> {
  const started = performance.now();
  const { exitCode, output } = await run(step, stdio);
  const seconds = (performance.now() - started) / 1000;
  const facts = { step, seconds, output };
  if (!step.counts) return { ...facts, tally: stepTally(exitCode), failed: [], repeated: [] };
  const file = `${REPORTS}/${step.name}.json`;
  const report = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  const tally = vitestTally(report, exitCode);
  return { ...facts, tally, failed: failures(report), repeated: unstable(report) };
}

function run(step: Step, stdio: 'inherit' | 'pipe'): Promise<{ exitCode: number; output: string }> {
  const [program, ...args] = step.command;
  const child = spawn(`node_modules/.bin/${program}`, args, {
    stdio: ['ignore', stdio, stdio],
    env: { ...process.env, HEARTH_CALLS: CALLS },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    // A step that a signal ended has no exit code.
    child.once('close', (code) => resolve({ exitCode: code ?? 1, output }));
  });
}

process.exitCode = await main(process.argv.slice(2));
