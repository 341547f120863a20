/** Error names with which AWS services throttle. The SDK has already retried them. */
const THROTTLING_NAMES = new Set([
  'Throttling',
  'ThrottlingException',
  'ThrottledException',
  'RequestLimitExceeded',
  'RequestThrottled',
  'RequestThrottledException',
  'TooManyRequestsException',
  'PriorRequestNotComplete',
  'SlowDown',
  'ProvisionedThroughputExceededException',
  'TooManyUpdates',
  'ResourceContentionFault',
  'ResourceContention',
]);

/** The fields of an SDK error that matter here; other errors have none of them. */
type SdkError = Error & {
  $metadata?: { httpStatusCode?: number };
  $retryable?: { throttling?: boolean };
  code?: string;
};

/**
 * Whether `error` is the AWS error `name`. One error has two names: the SDK's class (`ScalingActivityInProgressFault`)
 * and the code on the wire (`ScalingActivityInProgress`). The built bundles drop the SDK's error classes to start faster,
 * so they see the wire's code, while unit tests on the source see the class. This comparison accepts both.
 *
 * @param name with or without the suffix `Fault` or `Exception`
 */
export function isAwsError(error: unknown, name: string): error is Error {
  return error instanceof Error && withoutSuffix(error.name) === withoutSuffix(name);
}

function withoutSuffix(name: string): string {
  return name.replace(/(Fault|Exception)$/, '');
}

/** Whether AWS refused a call because of its rate. */
export function isThrottling(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { $metadata, $retryable } = error as SdkError;
  return (
    THROTTLING_NAMES.has(error.name) || $metadata?.httpStatusCode === 429 || $retryable?.throttling === true
  );
}

/** Whether the same call may succeed later: throttling, a fault of the service, or no answer. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { $metadata, code } = error as SdkError;
  if (isThrottling(error)) return true;
  if (($metadata?.httpStatusCode ?? 0) >= 500) return true;
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true;
  return /^(ECONN|ETIMEDOUT|EPIPE|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|UND_ERR)/.test(code ?? '');
}
