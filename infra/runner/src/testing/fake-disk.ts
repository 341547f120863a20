import type { ChainRecord, ChainRecordFile } from '../agents/chain-record.ts';

/** The record of a chain on a disk in memory. Each aw-runner reads it once, and writes its own copy. */
export function fakeDisk(instanceId: string) {
  let stored = JSON.stringify({
    ...{ version: 1, instanceId, units: 0, previous: 'none', updates: {} },
    ...{ failures: 0, refusals: 0, faults: 0, notBefore: 0 },
  });
  /** @param step makes each write */
  return (step: (write: () => Promise<void>) => Promise<void> = (write) => write()): ChainRecordFile => {
    let record: ChainRecord | undefined;
    const read = async () => {
      record ??= JSON.parse(stored) as ChainRecord;
      return record;
    };
    const write = async () => {
      stored = JSON.stringify(await read());
    };
    return { read, save: () => step(write) };
  };
}
