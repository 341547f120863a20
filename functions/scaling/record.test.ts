import { expect, test } from 'vitest';
import type { GroupBacklog } from '../../shared/fleet/backlog-record.ts';
import { HeldRecord } from './record.ts';
import { fakeScaling } from './testing/fake-scaling.ts';

test('a provider that assigns nothing to a thousand groups makes no record that the next poll cannot read', async () => {
  const { deps } = fakeScaling();
  const ids = Array.from({ length: 1_000 }, (_, index) => `gha/group-${index}`);
  const take = async (id: string) => {
    const until = new Date(deps.clock.now().getTime() + 50_000);
    const record = await HeldRecord.take({ id, until, isHint: false }, deps);
    if (typeof record === 'string') throw new Error(record);
    return record;
  };
  const record = await take('first');
  for (const id of ids) {
    const unmatched = Array.from(
      { length: 200 },
      (_, index) => `${id.length}${String(index).padStart(10, '0')}`,
    );
    const backlog: GroupBacklog = {
      queued: 200,
      running: 0,
      readAt: deps.clock.now().toISOString(),
      unmatched,
    };
    record.note(id, backlog);
  }
  await record.save(new Set(ids), true);
  const next = await take('second');
  const kept = ids.map((id) => next.group(id)?.unmatched.length ?? 0);
  // Each group keeps a part.
  expect(Math.min(...kept)).toBeGreaterThan(30);
  expect(Math.max(...kept)).toBeLessThan(200);
});
