import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Deployment } from '../deploy/settings.ts';
import type { Caller } from './callers.ts';
import type { Incoming } from './incoming.ts';
import { safeParameters } from './parameters.ts';

/**
 * The calls of a local cloud in a file, for tests that judge them: whether the policies of the Terraform module allow them, and whether
 * AWS has such calls. A file holds names and ids, and the form of each input without its values.
 */

/** One kind of call: all calls that are equal in everything below are one. */
export type RecordedCall = {
  /** The service's name in signatures. */
  service: string;
  operation: string;
  /** `aw-gha-default` for an instance of that group, `lifecycle` for a function, `operator` for a test. */
  role: string;
  parameters: Record<string, string>;
  input: CallInput;
};

/**
 * What the caller sent: a JSON body, the fields of a form, or the names of headers and of query parameters. In place of each text
 * there is another one.
 */
export type CallInput =
  | { kind: 'json'; body: unknown }
  | { kind: 'form'; fields: Record<string, string> }
  | { kind: 'rest'; method: string; path: string; headers: string[]; query: string[] };

/** What a file holds. */
export type Recording = {
  deployment: Pick<Deployment, 'home' | 'prefix' | 'bucket' | 'groups' | 'warmingSets'>;
  calls: RecordedCall[];
};

export type CallRecording = {
  add(call: Incoming, caller: Caller): void;
  /** Writes the file, unless there were no calls. */
  write(deployment: Deployment): void;
};

let files = 0;

/** @param folder undefined: nothing is recorded */
export function callRecording(folder: string | undefined): CallRecording | undefined {
  if (folder === undefined) return undefined;
  const calls = new Map<string, RecordedCall>();
  return {
    add(incoming, { role }) {
      // No API of AWS.
      if (incoming.service === 'pagerduty') return;
      const call: RecordedCall = {
        service: incoming.service,
        operation: incoming.operation,
        role,
        parameters: namesOf(incoming),
        input: inputOf(incoming),
      };
      calls.set(JSON.stringify(call), call);
    },
    write({ home, prefix, bucket, groups, warmingSets }) {
      if (calls.size === 0) return;
      mkdirSync(folder, { recursive: true });
      files += 1;
      const recording: Recording = {
        deployment: { home, prefix, bucket, groups, warmingSets },
        calls: [...calls.values()],
      };
      writeFileSync(join(folder, `${process.pid}-${files}.json`), JSON.stringify(recording));
    },
  };
}

/** Names and ids. A range and an ETag make no difference to a policy. */
function namesOf(incoming: Incoming): Record<string, string> {
  const { range: _, 'if-match': etag, ...names } = safeParameters(incoming);
  return { ...names, ...(etag !== undefined && { 'if-match': 'etag' }), ...eventNames(incoming) };
}

/** The source that an event names, and the resource whose tags are read: conditions and ARNs that are no parameters for people. */
function eventNames({ service, body }: Incoming): Record<string, string> {
  if (service !== 'events' && service !== 'monitoring') return {};
  const { Entries, ResourceARN } = JSON.parse(body.toString('utf8') || '{}');
  const [entry] = Array.isArray(Entries) ? Entries : [];
  return {
    ...(typeof entry?.Source === 'string' && { Source: entry.Source }),
    ...(typeof ResourceARN === 'string' && { ResourceARN }),
  };
}

function inputOf({ headers, body, method, path, query, streamed }: Incoming): CallInput {
  const type = headers['content-type'] ?? '';
  if (type.startsWith('application/x-www-form-urlencoded')) {
    const fields = [...new URLSearchParams(body.toString('utf8'))].map(([name, value]) => [
      name,
      formOf(value),
    ]);
    return { kind: 'form', fields: Object.fromEntries(fields) };
  }
  if (!streamed && 'x-amz-target' in headers) {
    return { kind: 'json', body: formOf(JSON.parse(body.toString('utf8') || '{}')) };
  }
  return { kind: 'rest', method, path, headers: Object.keys(headers), query: [...query.keys()] };
}

/** A value of the same type. Numbers and times keep a form that can be parsed. */
function formOf(value: unknown): unknown {
  if (typeof value === 'string') {
    if (/^(true|false|-?\d{1,9}(\.\d+)?)$/.test(value)) return value;
    return /^\d{4}-\d\d-\d\dT/.test(value) ? '2026-01-01T00:00:00Z' : 'x'.repeat(Math.min(4, value.length));
  }
  if (Array.isArray(value)) return value.map(formOf);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, formOf(inner)]));
  }
  return value;
}
