import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SendMessageCommand, SQSServiceException } from '@aws-sdk/client-sqs';
import * as v from 'valibot';
import { hasInbox, readFunctionSpecs } from '../../shared/runtime/function-spec.ts';
import { createClients } from './clients.ts';
import { inboxName } from './deploy/names.ts';
import { type Descriptor, findRunningCloud } from './descriptor.ts';
import { CloudEnded, withCloud } from './with-cloud.ts';

/**
 * `npm run invoke -- <function> <event.json>...`: sends each file, on its own, as a message through the function's
 * inbox, in the cloud that `npm start -- --keep` left running or else in one of its own, and prints one JSON line a
 * file: how the message ended, why, and every call that the function made for it. An event gets the account of the cloud, since
 * the functions accept events of their own account only.
 */
const USAGE = 'usage: npm run invoke -- <function> <event.json>...';

const root = resolve(import.meta.dirname, '../..');

/** How long one message may take, in seconds; a cold start and a slow schedule are well within. */
const PATIENCE_SECONDS = 60;

const answerSchema = v.object({
  handled: v.optional(
    v.object({
      outcome: v.string(),
      reason: v.optional(v.string()),
      calls: v.array(
        v.object({
          service: v.string(),
          operation: v.string(),
          status: v.number(),
          parameters: v.record(v.string(), v.string()),
        }),
      ),
    }),
  ),
});

async function main(args: readonly string[]): Promise<number> {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  const [functionName, ...files] = positionals;
  if (!functionName || files.length === 0) throw new UsageError(USAGE);
  const names = (await readFunctionSpecs(root)).filter(hasInbox).map(({ name }) => name);
  if (!names.includes(functionName)) {
    throw new UsageError(
      `no function ${functionName} with an inbox; there are ${names.join(', ')}\n${USAGE}`,
    );
  }
  const bodies = await Promise.all(files.map(async (file) => ({ file, body: await readFile(file, 'utf8') })));
  const running = await findRunningCloud(root);
  if (running) return sendAll(running, functionName, bodies);
  const options = { root, functions: [functionName], batchSize: 1, ...DEPLOYMENT };
  return withCloud(options, (cloud) => sendAll(cloud.descriptor, functionName, bodies));
}

/** What a cloud of its own consists of: groups and a warming set to which events can refer. */
const DEPLOYMENT = {
  groups: [
    { provider: 'gha', name: 'default', min: 0, max: 5, warmingSet: 'default' },
    { provider: 'gha', name: 'warming', min: 0, max: 1, warmingSet: 'default' },
  ],
  warmingSets: {
    default: { group: 'gha/warming', schedule: 'rate(1 day)', deadlineMinutes: 60, keep: 3 },
  },
  instances: 'none',
} as const;

class UsageError extends Error {}

/** @returns the exit code: 1 if a message could not be sent, or was not handled in time */
async function sendAll(
  cloud: Descriptor,
  functionName: string,
  bodies: readonly { file: string; body: string }[],
): Promise<number> {
  let exitCode = 0;
  for (const { file, body } of bodies) {
    const handled = await send(cloud, functionName, body);
    if ('problem' in handled) exitCode = 1;
    const line =
      'problem' in handled
        ? { outcome: null, reason: handled.problem, calls: [] }
        : { outcome: handled.outcome, reason: handled.reason ?? null, calls: handled.calls };
    console.log(JSON.stringify({ file, ...line }));
  }
  return exitCode;
}

async function send(cloud: Descriptor, functionName: string, body: string) {
  const { sqs } = createClients(cloud.url, cloud.region, cloud);
  const QueueUrl = `${cloud.url}/${cloud.account}/${inboxName(cloud.prefix, functionName)}`;
  let messageId: string | undefined;
  try {
    messageId = (
      await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: inAccount(body, cloud.account) }))
    ).MessageId;
  } catch (error) {
    // An empty file, or one that is too large for SQS, can reach no function.
    if (!(error instanceof SQSServiceException)) throw error;
    return { problem: `SQS refused it: ${error.message}` };
  }
  const answer = await fetch(`${cloud.url}/_cloud/handled`, {
    method: 'POST',
    body: JSON.stringify({ messageId, seconds: PATIENCE_SECONDS }),
  });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}: ${await answer.text()}`);
  const { handled } = v.parse(answerSchema, await answer.json());
  return handled ?? { problem: `not handled within ${PATIENCE_SECONDS} s` };
}

const eventSchema = v.looseObject({ account: v.string(), 'detail-type': v.string() });

/** The text as it is, unless it is an event of EventBridge. */
function inAccount(body: string, account: string): string {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), eventSchema), body);
  return parsed.success ? JSON.stringify({ ...parsed.output, account }) : body;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError) && !(error instanceof CloudEnded)) throw error;
  console.error(error.message);
  process.exitCode = error instanceof CloudEnded ? error.exitCode : 2;
}
