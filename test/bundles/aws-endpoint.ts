import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One call that a bundle made, as far as a test needs to know it. */
export type BundleCall = { operation: string; body: string };

/** What a test wants an operation to be answered with. */
export type CannedAnswer = { status: number; body: string };

/** Answers every call of a bundle with "nothing there", or as a test says, and remembers it. */
export async function startAwsEndpoint() {
  const calls: BundleCall[] = [];
  const answers = new Map<string, CannedAnswer>();
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces).toString();
    const target = String(request.headers['x-amz-target'] ?? '')
      .split('.')
      .at(-1);
    const operation = target || /Action=(\w+)/.exec(body)?.[1] || `${request.method} ${request.url}`;
    calls.push({ operation, body });
    const { status, type, text } = answerTo(operation, body, answers.get(operation));
    response.writeHead(status, { 'content-type': type }).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    /** By operation, e.g. `DescribeAlarms`, or by method and path. */
    answers,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

function answerTo(operation: string, body: string, canned: CannedAnswer | undefined) {
  const type =
    body.includes('Action=') || /^[A-Z]+ \//.test(operation) ? 'text/xml' : 'application/x-amz-json-1.0';
  if (canned) return { status: canned.status, type, text: canned.body };
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
  // SQS's client compares the checksum with that of what it sent.
  const sent = operation === 'SendMessage' ? (JSON.parse(body) as { MessageBody: string }).MessageBody : '';
  return {
    status: 200,
    type,
    text: JSON.stringify({ MD5OfMessageBody: createHash('md5').update(sent).digest('hex') }),
  };
}
