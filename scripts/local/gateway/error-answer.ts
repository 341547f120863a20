import { randomUUID } from 'node:crypto';
import type { InjectedFault, ServiceResponse } from '../service.ts';

/** A call, as far as its protocol shows. */
type Asked = { service: string; headers: Readonly<Record<string, string>> };

/**
 * An error in the shape of the protocol that the call came in: what a client of AWS would get, so that it is the
 * SDK's own parser and retry rules that meet it.
 */
export function errorAnswer(call: Asked, fault: InjectedFault): ServiceResponse {
  const type = call.headers['content-type'] ?? '';
  if (call.headers['smithy-protocol'] === 'rpc-v2-cbor') return cbor(fault);
  if (call.service === 's3') return s3(fault);
  if (type.startsWith('application/x-www-form-urlencoded')) return query(fault);
  return json(fault, type);
}

function json({ status, code, message }: InjectedFault, type: string): ServiceResponse {
  const headers = {
    'content-type': type.includes('json') ? type : 'application/json',
    'x-amzn-errortype': code,
    'x-amzn-requestid': randomUUID(),
  };
  return { status, headers, body: JSON.stringify({ __type: code, message }) };
}

function query({ status, code, message }: InjectedFault): ServiceResponse {
  const sender = status < 500 ? 'Sender' : 'Receiver';
  const body =
    `<ErrorResponse><Error><Type>${sender}</Type><Code>${xml(code)}</Code><Message>${xml(message)}</Message>` +
    `</Error><RequestId>${randomUUID()}</RequestId></ErrorResponse>`;
  return { status, headers: { 'content-type': 'text/xml' }, body };
}

function s3({ status, code, message }: InjectedFault): ServiceResponse {
  const body =
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${xml(code)}</Code><Message>${xml(message)}</Message>` +
    `<RequestId>${randomUUID()}</RequestId></Error>`;
  return { status, headers: { 'content-type': 'application/xml' }, body };
}

/** `{"__type": code, "message": message}` in CBOR (RFC 8949): a map of two text pairs. */
function cbor({ status, code, message }: InjectedFault): ServiceResponse {
  const body = Buffer.concat([
    Buffer.from([0xa2]),
    ...['__type', code, 'message', message].map((text) => cborText(text)),
  ]);
  return { status, headers: { 'smithy-protocol': 'rpc-v2-cbor', 'content-type': 'application/cbor' }, body };
}

function cborText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  // Major type 3, length in the two bytes that follow.
  const head = Buffer.from([0x79, bytes.length >> 8, bytes.length & 0xff]);
  return Buffer.concat([head, bytes]);
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
