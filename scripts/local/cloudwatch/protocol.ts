import { randomUUID } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import type { ServiceRequest, ServiceResponse } from '../service.ts';
import { CloudWatchError } from './errors.ts';
import type { Service } from './operation.ts';
import { OPERATIONS } from './operations.ts';

/** Largest request body after decompression (API reference, PutMetricData: 1 MB). */
const MAX_BYTES = 1024 * 1024;

/**
 * Answers one call in AWS JSON 1.0, the protocol of today's SDK clients. Older clients speak the query protocol or CBOR
 * to CloudWatch; they get an error.
 */
export function answer(service: Service, request: ServiceRequest): ServiceResponse {
  try {
    if (request.headers['x-amz-target'] === undefined) {
      throw new CloudWatchError(
        'InvalidAction',
        'Only AWS JSON 1.0 is emulated: use an SDK of 2025 or later',
      );
    }
    const operation = OPERATIONS.get(request.operation);
    if (operation === undefined) {
      throw new CloudWatchError('InvalidAction', `Operation ${request.operation} is not emulated`);
    }
    return reply(200, operation(service, parseBody(request)));
  } catch (error) {
    if (!(error instanceof CloudWatchError)) throw error;
    return errorReply(error);
  }
}

/** An error with the header from which clients learn its name in the query protocol. */
function errorReply(error: { code: string; message: string; status: number }): ServiceResponse {
  const response = reply(error.status, {
    __type: `com.amazonaws.cloudwatch#${error.code}`,
    message: error.message,
  });
  const blame = error.status < 500 ? 'Sender' : 'Receiver';
  return { ...response, headers: { ...response.headers, 'x-amzn-query-error': `${error.code};${blame}` } };
}

function reply(status: number, body: Record<string, unknown>): ServiceResponse {
  const headers = { 'content-type': 'application/x-amz-json-1.0', 'x-amzn-requestid': randomUUID() };
  return { status, headers, body: JSON.stringify(body) };
}

/** Clients compress large bodies. */
function parseBody(request: ServiceRequest): unknown {
  const compressed = request.headers['content-encoding'] === 'gzip';
  try {
    const bytes = compressed ? gunzipSync(request.body, { maxOutputLength: MAX_BYTES }) : request.body;
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new CloudWatchError('SerializationException', `The body cannot be read: ${String(error)}`);
  }
}
