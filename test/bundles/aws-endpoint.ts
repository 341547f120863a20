import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One call that a bundle made, as far as a test needs to know it. */
export type BundleCall = { operation: string; body: string };

/** Answers every AWS call of a bundle with "nothing there", and remembers it. */
export async function startAwsEndpoint() {
  const calls: BundleCall[] = [];
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces).toString();
    const target = String(request.headers['x-amz-target'] ?? '')
      .split('.')
      .at(-1);
    const operation = target || /Action=(\w+)/.exec(body)?.[1] || `${request.method} ${request.url}`;
    calls.push({ operation, body });
    if (/^GET .*[?&]list-type=2/.test(operation)) {
      response.writeHead(200, { 'content-type': 'application/xml' });
      response.end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>');
    } else if (/^[A-Z]+ \//.test(operation)) {
      response.writeHead(404, { 'content-type': 'application/xml' });
      response.end('<Error><Code>NoSuchKey</Code><Message>none</Message></Error>');
    } else if (body.includes('Action=')) {
      response.writeHead(200, { 'content-type': 'text/xml' });
      response.end(`<${operation}Response><${operation}Result></${operation}Result></${operation}Response>`);
    } else {
      response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' });
      // SQS's client compares the checksum with that of what it sent.
      const sent =
        operation === 'SendMessage' ? (JSON.parse(body) as { MessageBody: string }).MessageBody : '';
      response.end(JSON.stringify({ MD5OfMessageBody: createHash('md5').update(sent).digest('hex') }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}
