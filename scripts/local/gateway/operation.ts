import { restOperation } from './rest-operation.ts';
import { s3Operation } from './s3-operation.ts';

/** The part of a call that names its operation. */
export type CallShape = {
  service: string;
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Readonly<Record<string, string>>;
  /** Empty where bodies are streamed (S3). */
  body: Buffer;
};

/**
 * The operation that a call asks for, in each of AWS's protocols: JSON (`X-Amz-Target`), query (`Action=`), RPC v2
 * (`/service/…/operation/…`) and the REST ones (method and path).
 */
export function operationOf(call: CallShape): string {
  const target = call.headers['x-amz-target'];
  if (target) return target.slice(target.lastIndexOf('.') + 1);
  const rpc = /^\/service\/[^/]+\/operation\/([^/]+)$/.exec(call.path)?.[1];
  if (rpc) return rpc;
  if (call.service === 's3') return s3Operation(call);
  const action = call.query.get('Action') ?? formAction(call);
  return action ?? restOperation(call.service, call.method, call.path);
}

function formAction({ headers, body }: CallShape): string | undefined {
  if (!headers['content-type']?.startsWith('application/x-www-form-urlencoded')) return undefined;
  return new URLSearchParams(body.toString('utf8')).get('Action') ?? undefined;
}
