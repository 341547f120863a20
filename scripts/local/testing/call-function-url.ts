import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import type { AccessKey } from '../gateway/callers.ts';

type Signed = { headers: Record<string, string>; body: Buffer };

/**
 * Posts a JSON body to a function URL, signed by the SDK of AWS.
 *
 * @param options.sent replaces the body after the signature
 */
export async function callFunctionUrl(
  url: string,
  body: unknown,
  credentials: AccessKey,
  options: { region: string; sent?: string },
): Promise<{ status: number; body: unknown }> {
  const { headers, body: signed } = await sign(url, body, credentials, options.region);
  const { host: _, ...others } = headers;
  const answer = await fetch(url, {
    method: 'POST',
    headers: others,
    body: options.sent ?? new Uint8Array(signed),
  });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
}

/** The SDK has no client for function URLs. It signs them like every call of Lambda, so an Invoke with another path will do. */
async function sign(url: string, body: unknown, credentials: AccessKey, region: string): Promise<Signed> {
  const { origin, pathname, search } = new URL(url);
  let signed: Signed | undefined;
  const client = new LambdaClient({
    endpoint: origin,
    region,
    credentials,
    maxAttempts: 1,
    requestHandler: {
      async handle(request: Signed) {
        signed = request;
        throw new Error('only the signature was needed');
      },
    },
  });
  client.middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as { path: string; query: object; headers: Record<string, string> };
      request.path = pathname;
      request.query = Object.fromEntries(new URLSearchParams(search));
      request.headers['content-type'] = 'application/json';
      return next(args);
    },
    { step: 'build', priority: 'low' },
  );
  const Payload = Buffer.from(JSON.stringify(body));
  await client.send(new InvokeCommand({ FunctionName: 'url', Payload })).catch((error: unknown) => {
    if (!signed) throw error;
  });
  if (!signed) throw new Error('the SDK sent nothing');
  return signed;
}
