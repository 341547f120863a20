import { once } from 'node:events';
import { resolve } from 'node:path';
import { waitFor } from '../../../scripts/local/demo/wait-for.ts';
import { CloudEnded, withCloud } from '../../../scripts/local/with-cloud.ts';

/**
 * A command that holds a cloud with one running instance until something ends it, for the tests of outcomes. Prints one
 * JSON line when the instance is in service, and ends as the commands of `scripts/local` do.
 */
const options = {
  root: resolve(import.meta.dirname, '../../..'),
  functions: ['lifecycle', 'registration'],
  groups: [{ provider: 'gha', name: 'default', min: 1, max: 1, warmingSet: 'default' }],
} as const;

try {
  await withCloud(options, async (cloud, signal) => {
    const instances = () => cloud.autoScaling.groups().flatMap((group) => group.instances);
    await waitFor('an instance in service', () => instances().some(({ state }) => state === 'InService'), {
      seconds: 300,
      signal,
    });
    console.log(JSON.stringify({ folder: cloud.folder, ministackPid: cloud.ministackPid }));
    await once(signal, 'abort');
  });
} catch (error) {
  if (!(error instanceof CloudEnded)) throw error;
  console.error(error.message);
  process.exitCode = error.exitCode;
}
