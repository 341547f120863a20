/**
 * Event patterns as far as the module uses them: values, nested objects, and the operators `prefix` and `wildcard`. An operator
 * that is not known here is an error, not a mismatch. (EventBridge's own matcher exists for Java and Go, not for Node.)
 */
export function matches(pattern: unknown, event: unknown): boolean {
  if (!isRecord(pattern) || !isRecord(event)) return false;
  return Object.entries(pattern).every(([key, wanted]) => {
    const found = event[key];
    if (!Array.isArray(wanted)) return matches(wanted, found);
    const values = Array.isArray(found) ? found : [found];
    return wanted.some((one) => values.some((value) => matchesOne(one, value)));
  });
}

function matchesOne(wanted: unknown, value: unknown): boolean {
  if (!isRecord(wanted)) return wanted === value;
  const [[operator, argument] = []] = Object.entries(wanted);
  if (operator === 'prefix') return typeof value === 'string' && value.startsWith(String(argument));
  if (operator === 'wildcard') {
    const parts = String(argument)
      .split('*')
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return typeof value === 'string' && new RegExp(`^${parts.join('.*')}$`, 's').test(value);
  }
  throw new Error(`unknown operator ${operator}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
