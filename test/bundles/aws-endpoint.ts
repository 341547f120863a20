import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ROLE_ID_TAG } from '../../shared/fleet/names.ts';

/** One call of a function. */
export type BundleCall = { operation: string; body: string };

/** The answer to an operation. */
export type CannedAnswer = { status: number; body: string };

/** The only Auto Scaling group of the endpoint, with the tag that names the role of its instances. */
const GROUPS = `<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups><member><AutoScalingGroupName>aw-gha-default</AutoScalingGroupName><Tags><member><Key>${ROLE_ID_TAG}</Key><Value>AROARUNNER</Value></member></Tags></member></AutoScalingGroups></DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>`;

/** Answers every call with an empty result, or with the answer that a test sets, and records it. */
export async function startAwsEndpoint() {
  const calls: BundleCall[] = [];
  const answers = new Map<string, CannedAnswer>();
  const cannedAnswer = (operation: string) =>
    answers.get(operation) ??
    [...answers].find(([start]) => start.includes(' /') && operation.startsWith(start))?.[1];
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces).toString();
    const target = String(request.headers['x-amz-target'] ?? '')
      .split('.')
      .at(-1);
    const operation = target || /Action=(\w+)/.exec(body)?.[1] || `${request.method} ${request.url}`;
    calls.push({ operation, body });
    endpoint.onRequest?.(request);
    const { status, type, text } = answerTo(operation, body, cannedAnswer(operation));
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) }).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    /** By operation, such as `DescribeAlarms`, or by method and beginning of the path, such as `PUT /bucket/sets/`. */
    answers,
    /** Gets every request, with its headers. */
    onRequest: undefined as ((request: IncomingMessage) => void) | undefined,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
  return endpoint;
}

function answerTo(operation: string, body: string, canned: CannedAnswer | undefined) {
  const type =
    body.includes('Action=') || /^[A-Z]+ \//.test(operation) ? 'text/xml' : 'application/x-amz-json-1.0';
  if (canned) return { status: canned.status, type, text: canned.body };
  if (operation === 'DescribeAutoScalingGroups' && body.includes('=aw-gha-default')) {
    return { status: 200, type, text: GROUPS };
  }
  if (/^GET .*[?&]list-type=2/.test(operation)) {
    return {
      status: 200,
      type,
      text: '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>',
    };
  }
  if (/^[A-Z]+ \//.test(operation)) {
    return { status: 404, type, text: '<Error><Code>NoSuchKey</Code><Message>none</Message></Error>' };
  }
  if (body.includes('Action=')) {
    return {
      status: 200,
      type,
      text: `<${operation}Response><${operation}Result></${operation}Result></${operation}Response>`,
    };
  }
  // The SQS client compares this checksum with that of the body that it sent.
  const sent = operation === 'SendMessage' ? (JSON.parse(body) as { MessageBody: string }).MessageBody : '';
  return {
    status: 200,
    type,
    text: JSON.stringify({ MD5OfMessageBody: createHash('md5').update(sent).digest('hex') }),
  };
}
