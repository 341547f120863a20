/** Names under which AWS services say "slow down"; the SDK knows them too, and has given up by now. */
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

/** What an SDK error carries; anything else has none of it. */
type SdkError = Error & {
  $metadata?: { httpStatusCode?: number };
  $retryable?: { throttling?: boolean };
  code?: string;
};

/** Whether AWS refused a call because there were too many of them. */
export function isThrottling(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { $metadata, $retryable } = error as SdkError;
  return (
    THROTTLING_NAMES.has(error.name) || $metadata?.httpStatusCode === 429 || $retryable?.throttling === true
  );
}

/** Whether the same call may succeed later: throttled, a fault of the service, or no answer at all. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { $metadata, code } = error as SdkError;
  if (isThrottling(error)) return true;
  if (($metadata?.httpStatusCode ?? 0) >= 500) return true;
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true;
  return /^(ECONN|ETIMEDOUT|EPIPE|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|UND_ERR)/.test(code ?? '');
}
