/**
 * Keeps secrets out of logs in three ways, because none of them is complete: by the name of a field, by values that
 * were registered when they were read, and by well-known key formats.
 */

const SECRET_NAMES =
  /^(.*[_-])?(token|secret|password|passwd|authorization|api[_-]?key|routing[_-]?key|private[_-]?key|access[_-]?key|credentials?)$/i;

/**
 * Names that match SECRET_NAMES but are no secrets: AWS APIs have tokens for hooks and pages, which are useful for
 * debugging.
 */
const PLAIN_NAMES = /^(LifecycleActionToken|NextToken|ContinuationToken|ClientToken)$/i;

const SECRET_SHAPES = [
  /\bA(?:KIA|SIA)[0-9A-Z]{16}\b/g,
  /\bgh[pousr]_[A-Za-z0-9]{20,}\b/g,
  /\bgithub_pat_[A-Za-z0-9_]{20,}\b/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g,
];

const REDACTED = '[redacted]';

/** Shortest value that is registered, in characters: shorter values would redact ordinary words. */
const MIN_SECRET_LENGTH = 8;

const known = new Set<string>();

/** Registers a value that must never be printed. Values under 8 characters are ignored. */
export function registerSecret(value: string): void {
  if (value.length >= MIN_SECRET_LENGTH) known.add(value);
}

/** Forgets a value that is no secret any more, or that no log can contain. */
export function forgetSecret(value: string): void {
  known.delete(value);
}

/** The text with every registered secret and every text in a well-known key format replaced. */
export function redactText(value: string): string {
  let result = value;
  for (const secret of known) result = result.replaceAll(secret, REDACTED);
  for (const shape of SECRET_SHAPES) result = result.replace(shape, REDACTED);
  return result;
}

/** A `JSON.stringify` replacer that redacts by field name and by value. Powertools calls it for each log line. */
export function redactingReplacer(key: string, value: unknown): unknown {
  // Lists and objects too: the fields below have other names.
  if (isSecretName(key) && holdsSomething(value)) return REDACTED;
  if (typeof value === 'string') return redactText(value);
  if (value instanceof Error) return { name: value.name, message: redactText(value.message) };
  if (typeof value === 'bigint') return value.toString();
  return value;
}

function holdsSomething(value: unknown): boolean {
  return value !== '' && value !== null && value !== undefined && typeof value !== 'boolean';
}

function isSecretName(key: string): boolean {
  if (PLAIN_NAMES.test(key)) return false;
  return SECRET_NAMES.test(key.replace(/([a-z0-9])([A-Z])/g, '$1_$2'));
}
