import { setTimeout as sleep } from 'node:timers/promises';
import { SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import * as v from 'valibot';
import { type Report, reportSchema } from '../../../shared/fleet/report.ts';
import { errorText } from '../../../shared/runtime/errors.ts';
import { raceAbort } from './abortable.ts';
import type { RunnerConfig } from './config.ts';

/** Waits between tries of a report that must arrive, in milliseconds. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** Longest time of one try, in milliseconds. */
const TRY_LIMIT_MS = 15_000;

/** A report without the fields that all reports have. */
export type ReportBody = Report extends infer Each
  ? Each extends Report
    ? Omit<Each, 'group' | 'instanceId' | 'autoScalingGroup' | 'at'>
    : never
  : never;

/** Sends the reports of the runner. */
export interface Reporter {
  /** Tries until the report is sent or `signal` is aborted. */
  send(body: ReportBody, signal?: AbortSignal): Promise<void>;
  /** Tries once, for reports that the caller repeats. @returns whether it was sent */
  trySend(body: ReportBody): Promise<boolean>;
}

export function sqsReporter(
  sqs: Pick<SQSClient, 'send'>,
  config: Pick<RunnerConfig, 'group' | 'autoScalingGroup' | 'reportsUrl'>,
  instanceId: string,
  log: (line: string) => void,
): Reporter {
  async function post(body: ReportBody, stop?: AbortSignal): Promise<void> {
    const { group, autoScalingGroup, reportsUrl } = config;
    const report = { ...body, group, autoScalingGroup, instanceId, at: new Date().toISOString() };
    // The schema cuts long texts and clamps numbers, so that no receiver refuses the report because of them.
    const parsed = v.safeParse(reportSchema, report);
    const MessageBody = JSON.stringify(parsed.success ? parsed.output : report);
    const limit = new AbortController();
    const timer = setTimeout(
      () => limit.abort(new Error(`the queue did not answer within ${TRY_LIMIT_MS / 1000} s`)),
      TRY_LIMIT_MS,
    );
    const abortSignal = stop ? AbortSignal.any([limit.signal, stop]) : limit.signal;
    // Fair queues: a backlog of one instance delays the others less (SQS Developer Guide, "Amazon SQS fair queues").
    const command = new SendMessageCommand({ QueueUrl: reportsUrl, MessageBody, MessageGroupId: instanceId });
    const sending = sqs.send(command, { abortSignal });
    await raceAbort(abortSignal, sending).finally(() => clearTimeout(timer));
  }
  return {
    async send(body, signal) {
      for (let wait = FIRST_WAIT_MS; ; wait = Math.min(LONGEST_WAIT_MS, wait * 2)) {
        signal?.throwIfAborted();
        try {
          await post(body, signal);
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
        return true;
      } catch (error) {
        log(`${body.report} could not be reported: ${errorText(error)}`);
        return false;
      }
    },
  };
}
