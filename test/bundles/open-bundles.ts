import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import type { SQSBatchResponse } from 'aws-lambda';
import { bundleFunction } from '../../scripts/build/bundle.ts';
import { batchOf, FIRST_EVENTS } from '../bench/first-events.ts';
import { startAwsEndpoint } from './aws-endpoint.ts';

const root = resolve(import.meta.dirname, '../..');

/** The outcome of a record, from its log line. */
export type LoggedOutcome = { outcome: string; reason?: string; messageId: string };

/** The built bundle of a function, or its source with the complete SDK. */
export type Code = 'bundle' | 'source';

export type Bundles = Awaited<ReturnType<typeof openBundles>>;

/** Builds every function and runs it as Lambda does, against an AWS endpoint of the test. */
export async function openBundles() {
  const folder = await mkdtemp(join(tmpdir(), 'hearth-bundle-'));
  const aws = await startAwsEndpoint();
  for (const name of Object.keys(FIRST_EVENTS)) {
    await writeFile(join(folder, `${name}.js`), (await bundleFunction(root, name)).code);
  }
  await writeFile(join(folder, 'package.json'), '{"type":"commonjs"}');

  function start(name: string, code: Code) {
    const queue = (queueName: string) => `${aws.url}/123456789012/${queueName}`;
    const file = code === 'bundle' ? join(folder, `${name}.js`) : join(root, 'functions', name, 'handler.ts');
    return spawn(process.execPath, [join(root, 'test/bundles/run-bundle.mjs'), file], {
      env: {
        ...FIRST_EVENTS[name]?.env,
        AWS_ENDPOINT_URL: aws.url,
        PAGERDUTY_URL: aws.url,
        INBOX_URL: queue('inbox'),
        DEAD_LETTER_URL: queue('dead'),
        REPORTS_URL: queue('reports'),
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }

  return {
    aws,
    /** Sends all bodies in one batch, as messages `m0`, `m1`, … of one queue; to the bundle unless `code` names the source. */
    async send(
      name: string,
      bodies: unknown[],
      options: { queue?: string; senderId?: string; code?: Code } = {},
    ) {
      const Records = bodies.flatMap((body, index) =>
        batchOf(body, options.queue, options.senderId).Records.map((record) => ({
          ...record,
          messageId: `m${index}`,
        })),
      );
      const child = start(name, options.code ?? 'bundle');
      child.stdin.end(JSON.stringify({ Records }));
      // Errors go to standard error, all other lines to standard output.
      const [out, errors] = await Promise.all([textOf(child.stdout), textOf(child.stderr)]);
      const text = `${out}\n${errors}`;
      const lines = text
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line));
      const answer: SQSBatchResponse = lines.find((line) => line.answer)?.answer;
      const outcomes: LoggedOutcome[] = lines
        .filter((line) => line.message === 'record handled')
        .map((line) => line.record);
      return {
        answer,
        outcomes,
        text,
        of: (index: number) => outcomes.find(({ messageId }) => messageId === `m${index}`),
      };
    },
    /** Sends one event to the bundle as it is, such as a request to its URL. */
    async invoke(name: string, event: object) {
      const child = start(name, 'bundle');
      child.stdin.end(JSON.stringify(event));
      const [out, errors] = await Promise.all([textOf(child.stdout), textOf(child.stderr)]);
      const lines = `${out}\n${errors}`.split('\n').filter((line) => line.startsWith('{'));
      const answers = lines.map((line) => JSON.parse(line)).filter((line) => line.answer);
      return {
        answer: answers[0]?.answer,
        log: lines.filter((line) => !line.startsWith('{"answer"')).join('\n'),
      };
    },
    async close() {
      await aws.close();
      await rm(folder, { recursive: true });
    },
  };
}
