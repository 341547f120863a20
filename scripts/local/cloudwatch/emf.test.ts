import { afterEach, describe, expect, it, vi } from 'vitest';
import { createMetrics } from '../../../shared/runtime/metrics.ts';
import { parseEmbeddedMetrics } from './emf.ts';

afterEach(() => vi.restoreAllMocks());

const line = (
  change: Record<string, unknown> = {},
  metrics: unknown[] = [{ Name: 'Took', Unit: 'Seconds' }],
) =>
  JSON.stringify({
    _aws: {
      Timestamp: 1000,
      CloudWatchMetrics: [{ Namespace: 'Hearth', Dimensions: [['Group'], []], Metrics: metrics }],
    },
    Group: 'gha/default',
    Took: 2.5,
    ...change,
  });

describe('parseEmbeddedMetrics', () => {
  it('stores a value under each set of dimensions', () => {
    expect(parseEmbeddedMetrics(line()).measurements).toEqual([
      {
        metric: { namespace: 'Hearth', name: 'Took', dimensions: { Group: 'gha/default' } },
        sample: {
          time: 1000,
          unit: 'Seconds',
          count: 1,
          sum: 2.5,
          minimum: 2.5,
          maximum: 2.5,
          values: [2.5],
        },
      },
      expect.objectContaining({ metric: { namespace: 'Hearth', name: 'Took', dimensions: {} } }),
    ]);
  });

  it('reads what the functions really write', () => {
    const lines: string[] = [];
    // Powertools writes to a console of its own, made over the process's streams.
    vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => lines.push(String(chunk)) > 0);
    createMetrics('warming', 'aw').add('RestoreSeconds', 3, { Group: 'gha/default', Outcome: 'restored' });
    vi.restoreAllMocks();
    const found = lines.flatMap((text) => parseEmbeddedMetrics(text).measurements);
    expect(found.map(({ metric, sample }) => [metric, sample.sum])).toEqual([
      [
        {
          namespace: 'Hearth',
          name: 'RestoreSeconds',
          dimensions: { Deployment: 'aw', Group: 'gha/default' },
        },
        3,
      ],
      [
        {
          namespace: 'Hearth',
          name: 'RestoreSeconds',
          dimensions: { Deployment: 'aw', Group: 'gha/default', Outcome: 'restored' },
        },
        3,
      ],
    ]);
  });

  it('reads a list of values, and a line with something before its JSON', () => {
    const [first] = parseEmbeddedMetrics(
      `2026-05-14T16:20:00Z INFO ${line({ Took: [1, 2, 6] })}`,
    ).measurements;
    expect(first?.sample).toMatchObject({ count: 3, sum: 9, minimum: 1, maximum: 6 });
  });

  it.each(['', 'START RequestId: 1', '{"message":"record handled"}', '"_aws" and no JSON {'])(
    'finds nothing in %j',
    (text) => {
      expect(parseEmbeddedMetrics(text)).toEqual({ measurements: [], problems: [] });
    },
  );

  it('reports what CloudWatch drops', () => {
    expect(parseEmbeddedMetrics(line({ Group: undefined })).problems).toEqual(['Took: no text for Group']);
    expect(parseEmbeddedMetrics(line({ Took: 'long' })).problems[0]).toMatch(/^Took: expected a number/);
    expect(parseEmbeddedMetrics(JSON.stringify({ _aws: { Timestamp: 1 } })).problems[0]).toMatch(
      /CloudWatchMetrics/,
    );
  });
});
