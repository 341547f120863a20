/**
 * Keeps secrets out of logs in three ways, because none of them is complete: by the name of a field, by values that
 * were registered when they were read, and by well-known key formats.
 */

const SECRET_NAMES =
  /^(.*[_-])?(token|secret|password|passwd|authorization|api[_-]?key|routing[_-]?key|private[_-]?key|access[_-]?key|credentials?|jit[_-]?config|signature(?:[_-]?\d+)?|cookie|jwt|pem)$/i;

/**
 * Names that match SECRET_NAMES but are no secrets: AWS APIs have tokens for hooks and pages, which are useful for
 * debugging.
 */
const PLAIN_NAMES = /^(LifecycleActionToken|NextToken|ContinuationToken|ClientToken)$/i;

/** Ends of the names of secrets in a text. */
const WORDS = '(?:token|secret|passw(?:or)?d|(?:api|access|private|routing)[_-]?key|credentials?)';

/**
 * Well-known formats. A text can come from a job, and must not take the time of the function that logs it. So every repetition has a
 * limit, and none begins again inside of what it has read. Without a limit, V8 throws for a text of some megabytes.
 */
const SECRET_SHAPES: readonly [pattern: RegExp, replacement: string][] = [
  [/\bA(?:KIA|SIA)[0-9A-Z]{16}\b/g, '[redacted]'],
  // npm, GitLab, Docker Hub, PyPI, Slack, Vault, Google, Stripe and others. PagerDuty's API.
  [
    /\b(?:npm_|glpat-|dckr_pat_|pypi-|xox[a-z]-|hv[bs]\.|AIza|ya29\.|[rs]k_live_|sk-|u\+)[\w.-]{18,8192}/g,
    '[redacted]',
  ],
  [/(hooks\.slack\.com\/services\/)[\w/]{8,256}/g, '$1[redacted]'],
  // `NAME_TOKEN=value` in an environment, an argument or a query; `"password": "value"`; `Private-Token: value`; `--token value`.
  [new RegExp(`(${WORDS}\\\\?["']?\\s?=\\s?\\\\?["']?)[^\\s"'&;,\\\\]{6,8192}`, 'gi'), '$1[redacted]'],
  [new RegExp(`(${WORDS}\\\\?["']\\s?:\\s?\\\\?["'])[^"'\\\\]{1,8192}`, 'gi'), '$1[redacted]'],
  [new RegExp(`(${WORDS}:\\s)(?=[^\\s\\d]{0,64}\\d)[^\\s"',;]{8,8192}`, 'gi'), '$1[redacted]'],
  [new RegExp(`(--[a-z-]{0,20}${WORDS}\\s)[^\\s"'-][^\\s"']{5,8192}`, 'gi'), '$1[redacted]'],
  // The query of a signed URL and the header of a signed request; cookies; .netrc; `curl -u name:password`.
  [/(\b(?:X-Amz-Credential|sig|signature)=)[^\s&"',]{6,8192}/gi, '$1[redacted]'],
  [/(\bcookie:\s)[^\r\n"']{4,8192}/gi, '$1[redacted]'],
  [/(\blogin\s\S{1,256}\spassword\s)\S{1,8192}/gi, '$1[redacted]'],
  [/((?:-u|--user)\s["']?[^\s:"']{1,256}:)[^\s"']{1,8192}/g, '$1[redacted]'],
  // AWS's secret keys have no prefix: the name before them tells.
  [/(secret_?access_?key["']?\s{0,8}[=:]\s{0,8}["']?)[A-Za-z0-9/+]{40}/gi, '$1[redacted]'],
  // Newer tokens of GitHub have a JWT inside.
  [/\bgh[pousr]_[\w.-]{20,8192}/g, '[redacted]'],
  [/\bgithub_pat_\w{20,8192}/g, '[redacted]'],
  // Buildkite: cluster, user and job tokens. CircleCI: personal and project tokens.
  [/\bbk[a-z]{2}_[\w-]{16,8192}/g, '[redacted]'],
  [/\bCCI[A-Z]{2,5}_[\w-]{16,8192}/g, '[redacted]'],
  // JWT: two parts of Base64 that begin as `{"` does, and a signature.
  [/(?<![\w-])eyJ[\w-]{8,8192}\.eyJ[\w-]{8,8192}(?:\.[\w-]{0,8192})?/g, '[redacted]'],
  [
    /\b(authorization["']?\s{0,8}[=:]\s{0,8}["']?(?:basic|bearer|token)\s{1,8})[^\s"',;]{8,8192}/gi,
    '$1[redacted]',
  ],
  // A name or a token in a URL. `git@` is no secret.
  [/(\b[a-z][a-z\d+.-]{0,15}:\/\/)(?!git@)[^\s/?#"'<>]{1,2048}@/gi, '$1[redacted]@'],
];

/** The first and the last line of a private key. */
const KEY_BEGIN = /-----BEGIN [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----/g;
const KEY_END = /-----END [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----/g;

const REDACTED = '[redacted]';

/** Shortest value that is registered, in characters: shorter values would redact ordinary words. */
const MIN_SECRET_LENGTH = 8;

const known = new Set<string>();

/** `https://<token>@…` in a text, or `…://<user>:<password>@…`. `ssh://git@…` has a name only. */
const URL_CREDENTIALS = /https?:\/\/[^\s/?#@]*@|[a-z][a-z\d+.-]*:\/\/[^\s/?#:@]*:[^\s/?#@]*@/i;

/** Tokens that are told by their beginning, as in `SECRET_SHAPES`. The Terraform module has the same rule. */
const TOKENS =
  /\b(?:A(?:KIA|SIA)[0-9A-Z]{16}\b|(?:gh[pousr]|github_pat|bk[a-z]{2}|CCI[A-Z]{2,5}|npm|dckr_pat|[rs]k_live)_\w{16}|(?:glpat|pypi|xox[a-z])-[\w-]{16})/;

/** Whether a setting has credentials. Settings are in user data, in the Terraform state and in arguments of processes. */
export function hasCredentials(text: string): boolean {
  return URL_CREDENTIALS.test(text) || TOKENS.test(text);
}

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
  for (const [pattern, replacement] of SECRET_SHAPES) result = result.replace(pattern, replacement);
  return redactPrivateKeys(result);
}

/** A key that was cut off is redacted to the end of the text. */
function redactPrivateKeys(value: string): string {
  let result = '';
  let position = 0;
  for (;;) {
    KEY_BEGIN.lastIndex = position;
    const begin = KEY_BEGIN.exec(value);
    if (!begin) return result + value.slice(position);
    result += value.slice(position, begin.index) + REDACTED;
    KEY_END.lastIndex = begin.index;
    if (!KEY_END.exec(value)) return result;
    position = KEY_END.lastIndex;
  }
}

/** A private key in the lines of a program is redacted for at most so many lines. */
const MAX_KEY_LINES = 200;

/** As `redactText`, for the lines of one program one after the other: a private key has many of them. */
export function lineRedactor(): (line: string) => string {
  let left = 0;
  return (line) => {
    const wasInside = left > 0;
    const ends = [...line.matchAll(KEY_END)];
    const begin = [...line.matchAll(KEY_BEGIN)].at(-1)?.index ?? -1;
    if (begin > (ends.at(-1)?.index ?? -1)) left = MAX_KEY_LINES;
    else left = ends.length > 0 ? 0 : Math.max(0, left - 1);
    if (!wasInside) return redactText(line);
    const [end] = ends;
    return end ? REDACTED + redactText(line.slice(end.index + end[0].length)) : REDACTED;
  };
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
