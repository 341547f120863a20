import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { type Step, steps } from './steps.ts';
import { stepTally, sum, type Tally, tallyText, vitestTally } from './tally.ts';

/**
 * `npm test`: every check and every test, each step in its own process. A failed step does not stop the later ones, so
 * that one run reports all of them. Arguments choose steps by name: `npm test -- unit infra`.
 */
const REPORTS = '.local/reports';

async function main(chosen: readonly string[]): Promise<number> {
  const all = steps(REPORTS);
  const unknown = chosen.filter((name) => !all.some((step) => step.name === name));
  if (unknown.length > 0) {
    console.error(`no such step: ${unknown.join(', ')}. Steps: ${all.map((step) => step.name).join(', ')}`);
    return 2;
  }
  rmSync(REPORTS, { recursive: true, force: true });
  mkdirSync(REPORTS, { recursive: true });

  const results: { step: Step; tally: Tally; seconds: number }[] = [];
  for (const step of all) {
    if (chosen.length > 0 && !chosen.includes(step.name)) continue;
    console.log(`\n--- ${step.name}`);
    const started = performance.now();
    const exitCode = await run(step);
    results.push({ step, tally: tallyOf(step, exitCode), seconds: (performance.now() - started) / 1000 });
  }

  const total = sum(results.map((result) => result.tally));
  console.log('');
  for (const { step, tally, seconds } of results) {
    console.log(`${step.name.padEnd(12)} ${`${seconds.toFixed(1)} s`.padStart(8)}  ${tallyText(tally)}`);
  }
  console.log(`\n${tallyText(total)}`);
  return total.failed === 0 ? 0 : 1;
}

function run(step: Step): Promise<number> {
  const [program, ...args] = step.command;
  const child = spawn(`node_modules/.bin/${program}`, args, { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    // A step that a signal ended has no exit code.
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

function tallyOf(step: Step, exitCode: number): Tally {
  if (!step.counts) return stepTally(exitCode);
  const file = `${REPORTS}/${step.name}.json`;
  return vitestTally(existsSync(file) ? readFileSync(file, 'utf8') : undefined, exitCode);
}

process.exitCode = await main(process.argv.slice(2));
