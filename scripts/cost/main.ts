import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { idleCost, parsePrices } from './idle-cost.ts';

/** `npm run cost -- <plan.json>`: the idle cost of the deployment in a plan. */
function main([file]: readonly string[]): number {
  if (file === undefined) {
    console.error('usage: npm run cost -- <plan.json>, which `terraform show -json <plan>` writes');
    return 2;
  }
  const prices = parsePrices(readFileSync(join(import.meta.dirname, 'prices.json'), 'utf8'));
  const { lines, total, perGroup } = idleCost(readFileSync(file, 'utf8'), prices);
  const dollars = (amount: number) => `$${amount.toFixed(2)}`.padStart(9);
  console.log(`Per month while no instance runs, by the prices of ${prices.region} on ${prices.date}:\n`);
  for (const line of lines) {
    console.log(
      `${line.count.toLocaleString('en-US').padStart(12)}  ${line.item.padEnd(42)} ${dollars(line.dollars)}`,
    );
  }
  console.log(`${' '.repeat(14)}${'sum'.padEnd(42)} ${dollars(total)}`);
  console.log(
    `\nEach further runner group: ${dollars(perGroup).trim()}. Free tiers are not subtracted. Not included:`,
  );
  console.log(
    'instances, volumes, NAT, storage and requests of S3, logs, KMS, and metrics of runners at work.',
  );
  return 0;
}

process.exitCode = main(process.argv.slice(2));
