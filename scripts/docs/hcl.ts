/**
 * Reads variables and outputs of Terraform files in the format of `terraform fmt`: a block begins and ends at the start of a
 * line, and its arguments are indented by two spaces per level. Anything else is an error, so nothing is omitted without notice.
 */

export type Attribute = {
  name: string;
  type: string;
  default: string | undefined;
  /** The comment above the attribute, or above that of the same name in an earlier variable. */
  description: string;
};

export type Variable = {
  name: string;
  description: string;
  /** On one line; an object without its attributes, for example `map(object)`. */
  type: string;
  /** On one line; undefined for a required input. */
  default: string | undefined;
  /** Attributes of the object, or of the objects in the map. */
  attributes: Attribute[];
  /** Number of `validation` blocks. */
  validations: number;
};

export type Output = { name: string; description: string };

/**
 * @param source text of a `.tf` file
 * @throws if an attribute has no description
 */
export function readVariables(source: string): Variable[] {
  const described = new Map<string, string>();
  return blocks(source, 'variable').map(({ name, body }) => {
    const stated = argument(body, 'type') ?? 'any';
    const opening = stated.indexOf('object({');
    return {
      name,
      description: unquote(needed(body, 'description', name)),
      type: opening < 0 ? oneLine(stated) : `${stated.slice(0, opening)}object${opening > 0 ? ')' : ''}`,
      default: argument(body, 'default'),
      attributes: opening < 0 ? [] : readAttributes(name, stated.split('\n').slice(1, -1), described),
      validations: body.filter((line) => line === '  validation {').length,
    };
  });
}

/** @param source text of a `.tf` file */
export function readOutputs(source: string): Output[] {
  return blocks(source, 'output').map(({ name, body }) => ({
    name,
    description: unquote(needed(body, 'description', name)),
  }));
}

function blocks(source: string, kind: string): { name: string; body: string[] }[] {
  const lines = source.split('\n');
  return lines.flatMap((line, start) => {
    const name = new RegExp(`^${kind} "([^"]+)" \\{$`).exec(line)?.[1];
    if (name === undefined) return [];
    const end = lines.indexOf('}', start);
    if (end < 0) throw new Error(`${kind} ${name} does not end: is the file formatted?`);
    return [{ name, body: lines.slice(start + 1, end) }];
  });
}

/** The value of an argument, which may span several lines. */
function argument(body: readonly string[], name: string): string | undefined {
  const start = body.findIndex((line) => new RegExp(`^  ${name} += `).test(line));
  const first = body[start];
  if (first === undefined) return undefined;
  const value = first.slice(first.indexOf('= ') + 2);
  if (!/[({[]$/.test(value)) return value;
  const end = body.findIndex((line, index) => index > start && /^ {2}[)}\]]/.test(line));
  if (end < 0) throw new Error(`${name} does not end: ${first}`);
  return [value, ...body.slice(start + 1, end), (body[end] ?? '').trim()].join('\n');
}

function needed(body: readonly string[], name: string, of: string): string {
  const value = argument(body, name);
  if (value === undefined) throw new Error(`${of} has no ${name}`);
  return value;
}

/** @param described descriptions of the attributes of earlier variables, by name; those of this variable are added */
function readAttributes(of: string, lines: readonly string[], described: Map<string, string>): Attribute[] {
  const attributes: Attribute[] = [];
  let comment: string | undefined;
  for (const line of lines) {
    const text = /^ {4}# (.+)$/.exec(line)?.[1];
    if (text !== undefined) {
      comment = text;
      continue;
    }
    const attribute = readAttribute(line);
    const description = comment ?? described.get(attribute.name);
    if (description === undefined) throw new Error(`${of}.${attribute.name} has no comment above it`);
    described.set(attribute.name, description);
    attributes.push({ ...attribute, description });
    comment = undefined;
  }
  return attributes;
}

function readAttribute(line: string): Omit<Attribute, 'description'> {
  const [, name, stated = ''] = /^ {4}(\w+) += (.+)$/.exec(line) ?? [];
  if (name === undefined) throw new Error(`not an attribute on a line of its own: ${line}`);
  const optional = /^optional\((.+)\)$/.exec(stated)?.[1];
  if (optional === undefined) return { name, type: stated, default: undefined };
  const comma = outerComma(optional);
  return comma < 0
    ? { name, type: optional, default: 'null' }
    : { name, type: optional.slice(0, comma), default: optional.slice(comma + 2) };
}

/** Position of the first comma outside of brackets, which ends the first argument. */
function outerComma(text: string): number {
  let depth = 0;
  return [...text].findIndex((character) => {
    if ('([{'.includes(character)) depth += 1;
    if (')]}'.includes(character)) depth -= 1;
    return character === ',' && depth === 0;
  });
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}

function unquote(text: string): string {
  if (!/^".*"$/.test(text)) throw new Error(`not a string on one line: ${text}`);
  return JSON.parse(text);
}
