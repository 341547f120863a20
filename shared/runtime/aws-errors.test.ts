import { describe, expect, test } from 'vitest';
import { isAwsError, isThrottling, isTransient } from './aws-errors.ts';

const error = (name: string, more: object = {}) => Object.assign(new Error(name), { name }, more);

describe('throttling', () => {
  test.each([
    error('ThrottlingException'),
    error('Throttling'),
    error('ResourceContentionFault'),
    error('TooManyUpdates'),
    error('SlowDown'),
    error('Whatever', { $metadata: { httpStatusCode: 429 } }),
    error('Whatever', { $retryable: { throttling: true } }),
  ])('%s', (thrown) => {
    expect(isThrottling(thrown)).toBe(true);
    expect(isTransient(thrown)).toBe(true);
  });
});

describe('may succeed later, though nobody throttled', () => {
  test.each([
    error('InternalFailure', { $metadata: { httpStatusCode: 503 } }),
    error('TimeoutError'),
    error('AbortError'),
    error('Error', { code: 'ECONNRESET' }),
    error('Error', { code: 'EAI_AGAIN' }),
    error('Error', { code: 'UND_ERR_SOCKET' }),
  ])('%s', (thrown) => {
    expect(isThrottling(thrown)).toBe(false);
    expect(isTransient(thrown)).toBe(true);
  });
});

describe('stays as it is', () => {
  test.each([
    error('AccessDenied', { $metadata: { httpStatusCode: 403 } }),
    error('ValidationError', { $metadata: { httpStatusCode: 400 } }),
    error('TypeError'),
    error('Error', { code: 'ENOENT' }),
    'a thrown text',
    undefined,
  ])('%s', (thrown) => {
    expect(isThrottling(thrown)).toBe(false);
    expect(isTransient(thrown)).toBe(false);
  });
});

describe('names of errors', () => {
  test.each([
    'ScalingActivityInProgress',
    'ScalingActivityInProgressFault',
    'ScalingActivityInProgressException',
  ])('the name on the wire and the class of the SDK are one error: %s', (name) => {
    for (const thrown of ['ScalingActivityInProgress', 'ScalingActivityInProgressFault'])
      expect(isAwsError(error(thrown), name)).toBe(true);
  });

  test('another error, or none, is not it', () => {
    for (const thrown of [
      error('ScalingActivity'),
      error('ValidationError'),
      'ScalingActivityInProgress',
      undefined,
    ])
      expect(isAwsError(thrown, 'ScalingActivityInProgress')).toBe(false);
  });
});
