import { afterEach, expect, test, vi } from 'vitest';
import { addLogFields, createLogger, withLogFields } from './logger.ts';

afterEach(() => vi.restoreAllMocks());

function capture(): Record<string, unknown>[] {
  // In this mode Powertools prints through the console, which the test replaces.
  vi.stubEnv('POWERTOOLS_DEV', 'true');
  const lines: Record<string, unknown>[] = [];
  vi.spyOn(console, 'info').mockImplementation((text: string) => void lines.push(JSON.parse(text)));
  return lines;
}

test('added fields are on every later line of their record, and on no line of another one', async () => {
  const lines = capture();
  const logger = createLogger('test');
  const record = (messageId: string, about?: string) =>
    withLogFields({ messageId }, async () => {
      await Promise.resolve();
      if (about !== undefined) addLogFields({ about });
      await Promise.resolve();
      logger.info('record handled');
    });
  await Promise.all([record('a', 'i-1'), record('b'), record('c', 'i-3')]);
  expect(lines.map(({ messageId, about }) => [messageId, about])).toEqual([
    ['a', 'i-1'],
    ['b', undefined],
    ['c', 'i-3'],
  ]);
});

test('fields that are added outside of a record are dropped', () => {
  const lines = capture();
  const logger = createLogger('test');
  addLogFields({ about: 'i-1' });
  logger.info('a line');
  expect(lines[0]).not.toHaveProperty('about');
});
