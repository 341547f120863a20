import { PutObjectCommand } from '@aws-sdk/client-s3';
import { layerKey } from '../../../../shared/snapshot/layout.ts';
import { type Chapter, expectThat } from '../day.ts';
import { DEFAULT_GROUP, SET } from '../fleet.ts';
import { inService, manifestOf, objectOf, pointerOf, restoreOf } from '../look.ts';
import { setCapacity } from './runners.ts';

export const corruptSnapshot: Chapter = {
  title: 'corrupt snapshot, rolled back',
  async play(day) {
    const { secondSnapshot: bad = '', firstSnapshot: good } = day.known;
    const key = layerKey(SET, (await manifestOf(day, bad)).layers.at(-1)?.sha256 ?? '');
    const bytes = await objectOf(day, key);
    bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
    await day.cloud.clients.s3.send(
      new PutObjectCommand({ Bucket: day.cloud.deployment.bucket, Key: key, Body: bytes }),
    );
    day.tell(`one bit of the current snapshot ${bad} is flipped in S3`);

    const before = new Set(await inService(day, DEFAULT_GROUP));
    await setCapacity(day, before.size + 1);
    const id = await day.until(
      'a new runner in service',
      async () => (await inService(day, DEFAULT_GROUP)).find((one) => !before.has(one)),
      { seconds: 90 },
    );
    const outcome = restoreOf(day, id)?.outcome;
    expectThat(outcome === 'previous', `the new runner's restore ended as ${outcome}`);
    day.tell(`${id} noticed, mounted the snapshot before it, and took jobs`);
    const pointer = await day.until(
      'the quarantine',
      async () => {
        const found = await pointerOf(day);
        return found?.quarantined.some((entry) => entry.id === bad) && found;
      },
      { seconds: 60 },
    );
    expectThat(pointer.current === good, `the pointer went to ${pointer.current}`);
    day.tell(`${bad} is quarantined, the pointer is back on ${pointer.current}`);
    return `1 quarantined, ${restoreOf(day, id)?.seconds} s to a warm runner all the same`;
  },
};
