import type { IncomingMessage } from 'node:http';
import type { ServiceRequest } from '../service.ts';
import { readAll } from './forwarder.ts';
import { operationOf } from './operation.ts';
import { readSignature } from './signature.ts';

/** A call that has arrived: named, and read, unless its body is to be streamed. */
export type Incoming = ServiceRequest & {
  /** Whether `body` is empty because the request's own stream still holds it. */
  streamed: boolean;
};

/** Header with which a function's wrapper signs calls that AWS's SDK does not sign. */
export const CALLER_HEADER = 'x-local-caller';

/** Path of a function URL: the name of the function, and the path that the function receives. */
export const FUNCTION_URL = /^\/_url\/([^/]+)(\/.*)?$/;

/** What its path identifies, signed or not. No bucket has such a name. */
const BY_PATH = [
  { path: FUNCTION_URL, service: 'lambda', operation: 'InvokeFunctionUrl' },
  // PagerDuty's Events API.
  { path: /^\/v2\/enqueue$/, service: 'pagerduty', operation: 'enqueue' },
] as const;

/** Where calls belong that nobody signed and that are no API's: S3 alone may be called so. */
const DEFAULT = { service: 's3', region: 'us-east-1' };

export async function readIncoming(req: IncomingMessage): Promise<Incoming> {
  const { pathname: path, searchParams: query } = new URL(req.url ?? '/', 'http://gateway');
  const headers = plainHeaders(req);
  const signature = readSignature(headers.authorization, query);
  const api = BY_PATH.find((one) => one.path.test(path));
  const service = api?.service ?? signature?.service ?? DEFAULT.service;
  const streamed = service === 's3' && !path.startsWith('/_cloud/');
  const body = streamed ? Buffer.alloc(0) : await readAll(req);
  const method = req.method ?? 'GET';
  const accessKeyId = signature?.accessKeyId ?? headers[CALLER_HEADER];
  const shape = { service, method, path, query, headers, body };
  return {
    ...shape,
    operation: api?.operation ?? operationOf(shape),
    region: signature?.region ?? DEFAULT.region,
    ...(accessKeyId !== undefined && { accessKeyId }),
    streamed,
  };
}

function plainHeaders(req: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, values] of Object.entries(req.headersDistinct)) headers[name] = (values ?? []).join(', ');
  return headers;
}
