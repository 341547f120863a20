import { expect, test } from 'vitest';
import { untilAborted } from './until-aborted.ts';

class Counter {
  value = 0;
  async add(): Promise<number> {
    this.value += 1;
    return this.value;
  }
  async read(): Promise<number> {
    return this.value;
  }
}

test('after the abort a change is refused, and reads go on', async () => {
  const limit = new AbortController();
  const counter = new Counter();
  const port = untilAborted(limit.signal, counter, ['add']);
  expect(await port.add()).toBe(1);
  limit.abort();
  await expect(port.add()).rejects.toMatchObject({ name: 'AbortError' });
  expect(await port.read()).toBe(1);
  expect(counter.value).toBe(1);
});
