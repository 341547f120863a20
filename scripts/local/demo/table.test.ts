import { describe, expect, test } from 'vitest';
import { bytesText, countText, renderTable } from './table.ts';

describe('the table of the demo', () => {
  test('aligns its columns and shows every outcome', () => {
    const text = renderTable([
      { step: 'warming run', seconds: 12.34, result: '14,135 files, 90.1 MB', outcome: 'ok' },
      { step: 'alarm', seconds: 0, result: '', outcome: 'not run' },
    ]);
    expect(text).toBe(
      [
        'step         seconds  result                 outcome',
        '-----------  -------  ---------------------  -------',
        'warming run     12.3  14,135 files, 90.1 MB  ok',
        'alarm            0.0                         not run',
      ].join('\n'),
    );
  });

  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 kB'],
    [90_123_456, '90.1 MB'],
    [30_000_000_000, '30.0 GB'],
  ])('%i bytes read %s', (bytes, text) => expect(bytesText(bytes)).toBe(text));

  test('counts have thousands', () => expect(countText(14135)).toBe('14,135'));
});
