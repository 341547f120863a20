import { cleanRun } from './cleanup/clean.ts';
import { guard } from './cleanup/guard.ts';
import { openRunFolder } from './cleanup/run-folder.ts';
import type { Cloud, CloudOptions, Disposables } from './cloud.ts';
import { composeServices, HOME } from './compose-services.ts';
import { callRecording } from './gateway/call-recording.ts';
import { startGateway } from './gateway/gateway.ts';
import { startMiniStack } from './ministack/start.ts';

/**
 * Starts MiniStack, the emulated services and the gateway, and deploys the built functions.
 *
 * @throws if anything does not start; nothing is left running then
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const folder = await openRunFolder(options.root);
  guard(options.root, folder);
  const disposables: Disposables = [];
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= stopAll(disposables, folder);
    return stopped;
  };
  try {
    const ministack = await startMiniStack({ root: options.root, folder, home: HOME });
    disposables.push(() => ministack.stop());
    const recording = callRecording(process.env.HEARTH_CALLS);
    const gateway = await startGateway(ministack.url, recording);
    disposables.push(() => gateway.close());
    const services = await composeServices(options, { folder, ministack, gateway, disposables });
    disposables.push(() => recording?.write(services.deployment));
    return { ...services, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Stops everything in reverse order, continues after errors, and cleans up at the end. */
async function stopAll(disposables: Disposables, folder: string): Promise<void> {
  const failures: unknown[] = [];
  for (const close of [...disposables].reverse()) {
    try {
      await close();
    } catch (error) {
      failures.push(error);
    }
  }
  await cleanRun(folder);
  if (failures.length > 0) throw new AggregateError(failures, 'the local cloud did not stop cleanly');
}
