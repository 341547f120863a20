import { setTimeout as sleep } from 'node:timers/promises';
import { SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import type { Report } from '../../../shared/fleet/report.ts';
import { errorText } from '../../../shared/runtime/errors.ts';
import type { RunnerConfig } from './config.ts';

/** Waits between tries of a report that must arrive, in milliseconds. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** A report without what all reports carry. */
export type ReportBody = Report extends infer Each
  ? Each extends Report
    ? Omit<Each, 'group' | 'instanceId' | 'autoScalingGroup' | 'at'>
    : never
  : never;

/** The runner's voice. */
export interface Reporter {
  /** Tries until it is sent, or until `signal` says that it serves nothing any more. */
  send(body: ReportBody, signal?: AbortSignal): Promise<void>;
  /** Tries once: for heartbeats, of which the next one is near. */
  trySend(body: ReportBody): Promise<void>;
}

export function sqsReporter(
  sqs: Pick<SQSClient, 'send'>,
  config: Pick<RunnerConfig, 'group' | 'autoScalingGroup' | 'reportsUrl'>,
  instanceId: string,
  log: (line: string) => void,
): Reporter {
  async function post(body: ReportBody): Promise<void> {
    const { group, autoScalingGroup, reportsUrl } = config;
    const report = { ...body, group, autoScalingGroup, instanceId, at: new Date().toISOString() };
    await sqs.send(new SendMessageCommand({ QueueUrl: reportsUrl, MessageBody: JSON.stringify(report) }));
  }
  return {
    async send(body, signal) {
      for (let wait = FIRST_WAIT_MS; ; wait = Math.min(LONGEST_WAIT_MS, wait * 2)) {
        signal?.throwIfAborted();
        try {
          await post(body);
          log(`reported: ${body.report}`);
          return;
        } catch (error) {
          log(`${body.report} could not be reported, trying again: ${errorText(error)}`);
        }
        await sleep(wait * (0.5 + Math.random() / 2), undefined, signal && { signal });
      }
    },
    async trySend(body) {
      try {
        await post(body);
      } catch (error) {
        log(`${body.report} could not be reported: ${errorText(error)}`);
      }
    },
  };
}
