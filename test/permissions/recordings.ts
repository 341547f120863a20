import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { RecordedCall, Recording } from '../../scripts/local/gateway/call-recording.ts';
import { autoScalingGroupName } from '../../shared/fleet/names.ts';

/**
 * The calls that the end-to-end tests of one `npm test` have made, in the folder of HEARTH_CALLS. Each local cloud leaves a file there
 * when it stops.
 */
const folder = process.env.HEARTH_CALLS ?? resolve(import.meta.dirname, '../../.local/calls');

/** The recordings, one per local cloud. */
export const recordings: readonly Recording[] = existsSync(folder)
  ? readdirSync(folder).map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as Recording)
  : [];

/** Why recorded calls cannot be judged here, or undefined. With `CI=true` they always have to be there. */
export const noCalls =
  recordings.length > 0 || process.env.CI === 'true'
    ? undefined
    : `there are no recorded calls in ${folder}: run \`npm test -- build agents e2e permissions\``;
if (noCalls) console.warn(`recorded calls are not tested: ${noCalls}`);

/**
 * Every different call of a function, or of an instance of a declared group. What tests do as operators, as strangers and as roles that do
 * not exist is none of the product.
 */
export function callsOfTheProduct(functions: readonly string[]): RecordedCall[] {
  const calls = new Map<string, RecordedCall>();
  for (const { deployment, calls: all } of recordings) {
    const groups = deployment.groups.map((group) => autoScalingGroupName(deployment.prefix, group));
    const roles = new Set([...functions, ...groups]);
    for (const call of all) if (roles.has(call.role)) calls.set(JSON.stringify(call), call);
  }
  return [...calls.values()];
}
