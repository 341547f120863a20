import * as v from 'valibot';

/**
 * What the Events API v2 takes, with its limits and, as far as they are known, its words for what is wrong.
 * (PagerDuty developer documentation, "Send an event"; `'…' is missing or blank` is seen in the wild.)
 */

const ROUTING_KEY_LENGTH = 32;
const MAX_DEDUP_KEY = 255;
const MAX_SUMMARY = 1024;
const SEVERITIES = ['critical', 'error', 'warning', 'info'] as const;

/** ISO 8601, with or without a colon in the offset: CloudWatch leaves it out. */
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/;

const blank = (field: string) => `'${field}' is missing or blank`;

/** Text that is there. Its type is part of the message: a number is no text. */
function text(field: string) {
  return v.pipe(
    v.string(blank(field)),
    v.check((value) => value.trim() !== '', blank(field)),
  );
}

function optionalText(field: string) {
  return v.optional(v.nullable(v.string(`'${field}' must be a string`)));
}

const routingKey = v.pipe(
  text('routing_key'),
  v.length(
    ROUTING_KEY_LENGTH,
    `Length of 'routing_key' is incorrect (should be ${ROUTING_KEY_LENGTH} characters)`,
  ),
);

const tooLongDedupKey = `'dedup_key' is too long (maximum is ${MAX_DEDUP_KEY} characters)`;

const payload = v.object(
  {
    summary: v.pipe(
      text('payload.summary'),
      v.maxLength(MAX_SUMMARY, `'payload.summary' is too long (maximum is ${MAX_SUMMARY} characters)`),
    ),
    source: text('payload.source'),
    severity: v.pipe(
      text('payload.severity'),
      v.picklist(
        SEVERITIES,
        `'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')`,
      ),
    ),
    timestamp: v.optional(
      v.nullable(
        v.pipe(
          v.string(`'payload.timestamp' must be a string`),
          v.regex(INSTANT, `'payload.timestamp' is invalid (must be an ISO 8601 time)`),
        ),
      ),
    ),
    component: optionalText('payload.component'),
    group: optionalText('payload.group'),
    class: optionalText('payload.class'),
    custom_details: v.optional(v.unknown()),
  },
  `'payload' must be an object`,
);

const links = v.optional(
  v.array(
    v.object({ href: text('links.href'), text: optionalText('links.text') }, `'links' is invalid`),
    `'links' must be an array`,
  ),
);

const images = v.optional(
  v.array(v.object({ src: text('images.src') }, `'images' is invalid`), `'images' must be an array`),
);

const trigger = v.object({
  routing_key: routingKey,
  event_action: v.literal('trigger'),
  dedup_key: v.optional(
    v.nullable(v.pipe(v.string(`'dedup_key' must be a string`), v.maxLength(MAX_DEDUP_KEY, tooLongDedupKey))),
  ),
  payload,
  client: optionalText('client'),
  client_url: optionalText('client_url'),
  links,
  images,
});

const followUp = v.object({
  routing_key: routingKey,
  event_action: v.picklist(['acknowledge', 'resolve']),
  dedup_key: v.pipe(text('dedup_key'), v.maxLength(MAX_DEDUP_KEY, tooLongDedupKey)),
});

const event = v.variant(
  'event_action',
  [trigger, followUp],
  `'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')`,
);

export type Trigger = v.InferOutput<typeof trigger>;
export type PagerDutyEvent = v.InferOutput<typeof event>;
export type Severity = (typeof SEVERITIES)[number];

/** The event in a parsed body, or all that is wrong with it. */
export function parseEvent(body: unknown): { event: PagerDutyEvent } | { errors: string[] } {
  const result = v.safeParse(event, body);
  if (result.success) return { event: result.output };
  return { errors: [...new Set(result.issues.map(inWords))] };
}

/** Absent fields have the same message everywhere. The schema has the messages of wrong fields. */
function inWords(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue);
  if (path === null) return 'Event is not a JSON object';
  return issue.received === 'undefined' || issue.received === 'null' ? blank(path) : issue.message;
}
