import {
  InvokeCommand,
  type LambdaClient,
  LambdaServiceException,
  TooManyRequestsException,
} from '@aws-sdk/client-lambda';
import * as v from 'valibot';
import { type Callers, SECRET_ACCESS_KEY } from '../gateway/callers.ts';
import { FUNCTION_URL } from '../gateway/incoming.ts';
import type { EmulatedService, Home, ServiceRequest, ServiceResponse } from '../service.ts';
import { urlEvent } from './event.ts';
import { signatureProblem } from './verify-signature.ts';

/** Who may call a URL. `iam`: a caller whose signature is valid. */
export type UrlAuth = 'iam' | 'none';

export type FunctionUrls = EmulatedService & {
  /** Gives the Lambda function a URL. */
  add(functionName: string, auth: UrlAuth): void;
};

/** `http://127.0.0.1:<port>/_url/<function>/`. It exists before the function does. */
export function functionUrl(gatewayUrl: string, functionName: string): string {
  return `${gatewayUrl}/_url/${functionName}/`;
}

/** Largest request of a synchronous invocation, in bytes (Lambda quotas: 6 MB). */
const MAX_BYTES = 6_291_456;

/** The answer of a function that sets its status itself. */
const answerSchema = v.object({
  statusCode: v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(599)),
  headers: v.optional(v.record(v.string(), v.union([v.string(), v.number(), v.boolean()])), {}),
  body: v.optional(v.string(), ''),
  isBase64Encoded: v.optional(v.boolean(), false),
});

/**
 * Function URLs, which the emulator stores and does not serve. A call becomes a synchronous invocation of the deployed bundle. IAM
 * policies are not evaluated: every caller of the local cloud may call every URL, and the function sees who it is.
 *
 * @param options.lambda client of the emulator itself: Lambda's own invocation is no call
 */
export function createFunctionUrls(options: {
  lambda: LambdaClient;
  callers: Callers;
  home: Home;
}): FunctionUrls {
  const urls = new Map<string, UrlAuth>();

  async function handle(request: ServiceRequest): Promise<ServiceResponse> {
    const [, functionName = '', path = '/'] = FUNCTION_URL.exec(request.path) ?? [];
    const auth = urls.get(functionName);
    if (auth === undefined) return refusal(404, 'NotFoundException', null);
    const caller = auth === 'iam' ? options.callers.find(request.accessKeyId) : undefined;
    if (auth === 'iam') {
      const problem = signatureProblem(request, 'lambda', SECRET_ACCESS_KEY);
      if (problem !== undefined || !caller) {
        return refusal(
          403,
          'AccessDeniedException',
          caller && problem ? `Forbidden: ${problem}` : 'Forbidden',
        );
      }
    }
    if (request.body.length > MAX_BYTES) return refusal(413, 'RequestTooLargeException', 'Request too large');
    return invoke(functionName, urlEvent(functionName, path, request, caller, options.home));
  }

  async function invoke(FunctionName: string, event: Record<string, unknown>): Promise<ServiceResponse> {
    try {
      const { FunctionError, Payload } = await options.lambda.send(
        new InvokeCommand({ FunctionName, Payload: Buffer.from(JSON.stringify(event)) }),
      );
      if (FunctionError !== undefined) return refusal(502, 'InternalServerError', 'Internal Server Error');
      return answerOf(Buffer.from(Payload ?? []).toString('utf8'));
    } catch (error) {
      // Reserved concurrency, which the emulator enforces.
      if (error instanceof TooManyRequestsException) {
        return refusal(429, 'TooManyRequestsException', 'Rate Exceeded.');
      }
      if (error instanceof LambdaServiceException) throw error;
      // The emulator does not answer, as at the end of the cloud.
      return refusal(502, 'InternalServerError', 'Internal Server Error');
    }
  }

  return {
    name: 'lambda',
    serves: (operation) => operation === 'InvokeFunctionUrl',
    handle,
    add: (functionName, auth) => urls.set(functionName, auth),
  };
}

/** An answer without a status becomes the body of a 200. */
function answerOf(payload: string): ServiceResponse {
  const result = v.safeParse(answerSchema, JSON.parse(payload || 'null'));
  if (!result.success) return { status: 200, headers: { 'content-type': 'application/json' }, body: payload };
  const { statusCode, headers, body, isBase64Encoded } = result.output;
  const texts = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]);
  return {
    status: statusCode,
    headers: { 'content-type': 'application/json', ...Object.fromEntries(texts) },
    body: isBase64Encoded ? Buffer.from(body, 'base64') : body,
  };
}

function refusal(status: number, type: string, Message: string | null): ServiceResponse {
  return {
    status,
    headers: { 'content-type': 'application/json', 'x-amzn-errortype': type },
    body: JSON.stringify({ Message }),
  };
}
