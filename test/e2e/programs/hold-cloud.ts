import { once } from 'node:events';
import { resolve } from 'node:path';
import { CloudEnded, withCloud } from '../../../scripts/local/with-cloud.ts';

/**
 * A command that holds a cloud until something ends it, for the tests of endings. Prints one JSON line when it is up,
 * and ends as the commands of `scripts/local` do.
 */
const root = resolve(import.meta.dirname, '../../..');

try {
  await withCloud({ root, functions: ['lifecycle'], machines: 'none' }, async (cloud, signal) => {
    console.log(JSON.stringify({ folder: cloud.folder, ministackPid: cloud.ministackPid }));
    await once(signal, 'abort');
  });
} catch (error) {
  if (!(error instanceof CloudEnded)) throw error;
  console.error(error.message);
  process.exitCode = error.exitCode;
}
