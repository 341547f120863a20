import { PutObjectCommand } from '@aws-sdk/client-s3';
import { framesKey } from '../../../../shared/snapshot/layout.ts';
import { DEFAULT_GROUP, GROUPS, SET } from '../fleet.ts';
import { inService, objectOf, pointerOf, restoreOf } from '../queries.ts';
import { expectThat, type Step } from '../step.ts';
import { setCapacity } from './runners.ts';

export const corruptSnapshot: Step = {
  title: 'rollback of a corrupt snapshot',
  async run(demo) {
    const { first: good, second: bad = '' } = demo.snapshots;
    const key = framesKey(SET, bad);
    const bytes = await objectOf(demo, key);
    bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
    await demo.cloud.clients.s3.send(
      new PutObjectCommand({ Bucket: demo.cloud.deployment.bucket, Key: key, Body: bytes }),
    );
    demo.log(`one bit of the current snapshot ${bad} in S3 is inverted`);

    const before = new Set(inService(demo, DEFAULT_GROUP));
    await setCapacity(demo, GROUPS.warm, before.size + 1);
    const id = await demo.waitFor(
      'a new runner in service',
      () => inService(demo, DEFAULT_GROUP).find((one) => !before.has(one)),
      { seconds: 300 },
    );
    const outcome = restoreOf(demo, id)?.outcome;
    expectThat(outcome === 'previous', `the restore of the new runner has the result ${outcome}`);
    demo.log(`${id} detected the corruption, restored the previous snapshot and is in service`);
    const pointer = await demo.waitFor(
      'the quarantine',
      async () => {
        const found = await pointerOf(demo);
        return found?.quarantined.some((entry) => entry.id === bad) && { current: found.current?.id };
      },
      { seconds: 300 },
    );
    expectThat(pointer.current === good, `the pointer names ${pointer.current}`);
    demo.log(`${bad} is quarantined; the pointer names ${pointer.current} again`);
    return `1 snapshot quarantined, restore of the previous one ${restoreOf(demo, id)?.seconds} s`;
  },
};
