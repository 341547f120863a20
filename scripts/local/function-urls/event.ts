import { createHash, randomUUID } from 'node:crypto';
import { type Caller, senderId } from '../gateway/callers.ts';
import type { Home, ServiceRequest } from '../service.ts';

/** Types that Lambda passes on as text; it encodes all others in Base64 (Lambda Developer Guide, "Invoking function URLs"). */
const TEXT = /^(text\/|application\/(json|javascript|xml|[^;]*\+(json|xml))\b)/;

/**
 * The event of a call of a function URL: payload format 2.0 (Lambda Developer Guide, "Request and response payloads").
 *
 * @param path below the function's own URL
 * @param caller who signed the call; undefined without authorization
 */
export function urlEvent(
  functionName: string,
  path: string,
  { method, query, headers, body, accessKeyId }: ServiceRequest,
  caller: Caller | undefined,
  { account, region }: Home,
  now: Date = new Date(),
): Record<string, unknown> {
  const id = createHash('sha256').update(functionName).digest('hex').slice(0, 32);
  const isText = TEXT.test(headers['content-type'] ?? '');
  const names = [...new Set(query.keys())];
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: query.toString(),
    headers,
    ...(names.length > 0 && {
      queryStringParameters: Object.fromEntries(names.map((name) => [name, query.getAll(name).join(',')])),
    }),
    requestContext: {
      accountId: account,
      apiId: id,
      ...(caller && {
        authorizer: {
          iam: {
            accessKey: accessKeyId,
            accountId: account,
            callerId: senderId(caller),
            cognitoIdentity: null,
            principalOrgId: null,
            userArn: `arn:aws:sts::${account}:assumed-role/${caller.role}/${caller.session}`,
            userId: senderId(caller),
          },
        },
      }),
      domainName: `${id}.lambda-url.${region}.on.aws`,
      domainPrefix: id,
      http: {
        method,
        path,
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: headers['user-agent'] ?? null,
      },
      requestId: randomUUID(),
      routeKey: '$default',
      stage: '$default',
      time: logTime(now),
      timeEpoch: now.getTime(),
    },
    ...(body.length > 0 && { body: body.toString(isText ? 'utf8' : 'base64') }),
    isBase64Encoded: body.length > 0 && !isText,
  };
}

/** `12/Mar/2020:19:03:58 +0000`. */
function logTime(time: Date): string {
  const [, day, month, year, clock] = /^\w+, (\d+) (\w+) (\d+) ([\d:]+)/.exec(time.toUTCString()) ?? [];
  return `${day}/${month}/${year}:${clock} +0000`;
}
