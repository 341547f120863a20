import type { SQSEvent, SQSRecord } from 'aws-lambda';
import { callerKey, signFetches } from './caller.ts';
import { createGatewayLine } from './gateway-line.ts';

/**
 * The wrapper around a deployed bundle: it is in the zip beside the bundle, and the emulator invokes it. It adds
 * what Lambda and SQS provide and the emulator does not: credentials per worker, a context whose remaining time counts down, the
 * sender of each message, the placeholders of the Scheduler, and a log for the gateway. The bundle stays unchanged.
 */
declare const require: (path: string) => { handler: (event: object, context: object) => Promise<unknown> };

/** A batch of a queue, or one call of the function URL. */
type LambdaEvent = SQSEvent | { requestContext: object };

const worker = { function: process.env.LOCAL_FUNCTION ?? '', accessKeyId: callerKey() };
const gateway = createGatewayLine(process.env.AWS_ENDPOINT_URL ?? '', worker);

process.env.AWS_ACCESS_KEY_ID = worker.accessKeyId;
process.env.AWS_SECRET_ACCESS_KEY = 'local';
delete process.env.AWS_SESSION_TOKEN;
gateway.captureOutput();
signFetches(worker.accessKeyId);

/** The bundle, beside the wrapper in the zip. */
const BUNDLE = './index.js';
const bundle = require(BUNDLE);

export async function handler(event: LambdaEvent, context: object): Promise<unknown> {
  const deadline = Date.now() + Number(process.env.LOCAL_TIMEOUT_SECONDS) * 1000;
  const records = 'Records' in event ? event.Records : [];
  const { senders } = await gateway.batchStarted(records.map((record) => record.messageId));
  const Records = records.map((record) => asDeliveredBySqs(record, senders[record.messageId]));
  let error: string | undefined;
  try {
    // The remaining time of the emulator's context is constant.
    return await bundle.handler('Records' in event ? { ...event, Records } : event, {
      ...context,
      getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    });
  } catch (thrown) {
    error = String(thrown);
    throw thrown;
  } finally {
    await gateway.batchEnded(error);
  }
}

function asDeliveredBySqs(record: SQSRecord, senderId: string | undefined): SQSRecord {
  const sentAt = new Date(Number(record.attributes.SentTimestamp));
  // The values of EventBridge Scheduler for these placeholders ("context attributes", Scheduler User Guide).
  const body = record.body
    .replaceAll('<aws.scheduler.execution-id>', record.messageId)
    .replaceAll('<aws.scheduler.scheduled-time>', sentAt.toISOString().replace(/\.\d+/, ''));
  return {
    ...record,
    body,
    attributes: { ...record.attributes, ...(senderId !== undefined && { SenderId: senderId }) },
  };
}
