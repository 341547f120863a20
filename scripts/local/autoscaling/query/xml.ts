/** What can stand in an answer. Undefined is left out; lists become `<member>`s, as the AWS Query protocol has it. */
export type XmlValue =
  | string
  | number
  | boolean
  | Date
  | undefined
  | readonly XmlValue[]
  | { readonly [name: string]: XmlValue };

const NAMESPACE = 'http://autoscaling.amazonaws.com/doc/2011-01-01/';

/** The document of a successful answer. */
export function successXml(operation: string, result: XmlValue, requestId: string): string {
  const inner = element(`${operation}Result`, result ?? {}) + metadata(requestId);
  return `<${operation}Response xmlns="${NAMESPACE}">${inner}</${operation}Response>`;
}

/** The document of an error. */
export function errorXml(code: string, message: string, status: number, requestId: string): string {
  const error = element('Error', {
    Type: status < 500 ? 'Sender' : 'Receiver',
    Code: code,
    Message: message,
  });
  return `<ErrorResponse xmlns="${NAMESPACE}">${error}${element('RequestId', requestId)}</ErrorResponse>`;
}

function metadata(requestId: string): string {
  return element('ResponseMetadata', { RequestId: requestId });
}

function element(name: string, value: XmlValue): string {
  return value === undefined ? '' : `<${name}>${content(value)}</${name}>`;
}

function content(value: Exclude<XmlValue, undefined>): string {
  if (isList(value)) return value.map((item) => element('member', item)).join('');
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== 'object') return escapeXml(String(value));
  return Object.entries(value)
    .map(([name, inner]) => element(name, inner))
    .join('');
}

function isList(value: XmlValue): value is readonly XmlValue[] {
  return Array.isArray(value);
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function escapeXml(text: string): string {
  // Carriage returns would be read back as line feeds, and other control characters may not stand in XML at all.
  return text
    .toWellFormed()
    .replace(/[&<>"]/g, (character) => ENTITIES[character] ?? '')
    .replaceAll('\r', '&#xD;')
    .replace(/[^\P{Cc}\t\n]|[\ufffe\uffff]/gu, '\ufffd');
}
