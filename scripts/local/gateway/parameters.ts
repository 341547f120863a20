import { FUNCTION_URL } from './incoming.ts';
import type { CallShape } from './operation.ts';
import { s3Address } from './s3-operation.ts';

/** Parameters that name things. Whatever is not listed, a body or a value above all, is not recorded. */
const SAFE = new Set([
  'AlarmName',
  'AutoScalingGroupName',
  'DesiredCapacity',
  'InstanceId',
  'LifecycleActionResult',
  'LifecycleHookName',
  'Name',
  'Path',
  'QueueName',
  'SecretId',
  'ShouldDecrementDesiredCapacity',
  'VisibilityTimeout',
  'event_action',
  'dedup_key',
  // Of a request for a registration of an agent.
  'action',
  'name',
  'previous',
]);

const MAX_CHARS = 200;

/** The names and ids in a call. */
export function safeParameters(call: CallShape): Record<string, string> {
  if (call.service === 's3') return ofS3(call);
  const found: Record<string, string> = {};
  const functionName = FUNCTION_URL.exec(call.path)?.[1];
  if (functionName !== undefined) found.FunctionName = functionName;
  for (const [name, value] of fields(call)) {
    if (name === 'QueueUrl') found.Queue = String(value).slice(String(value).lastIndexOf('/') + 1);
    if (SAFE.has(name) && ['string', 'number', 'boolean'].includes(typeof value)) {
      found[name] = String(value).slice(0, MAX_CHARS);
    }
  }
  return found;
}

function ofS3({ path, headers }: CallShape): Record<string, string> {
  const { bucket, key } = s3Address(path);
  const conditions = ['if-match', 'if-none-match', 'range'].filter((name) => name in headers);
  return {
    Bucket: bucket,
    Key: key,
    ...Object.fromEntries(conditions.map((name) => [name, headers[name] ?? ''])),
  };
}

function fields({ headers, body, query }: CallShape): [string, unknown][] {
  const type = headers['content-type'] ?? '';
  if (type.startsWith('application/x-www-form-urlencoded')) {
    return [...new URLSearchParams(body.toString('utf8'))];
  }
  if (!type.includes('json')) return [...query];
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? Object.entries(parsed) : [];
  } catch {
    // A malformed body is the service's to refuse; there is just nothing to record.
    return [];
  }
}
