import type { Output, Variable } from './hcl.ts';

/** Start of the description of an input that the module declares only to refuse it. */
const NOT_SUPPORTED = 'Not supported:';

/** Inputs as Markdown: one table of all inputs, and one table per object type. Inputs that are not supported are listed last. */
export function inputTables(variables: readonly Variable[]): string {
  const refused = variables.filter(({ description }) => description.startsWith(NOT_SUPPORTED));
  const supported = variables.filter((variable) => !refused.includes(variable));
  return [
    table(
      ['Input', 'Type', 'Default', 'Description'],
      supported.map((one) => [code(one.name), code(one.type), fallback(one.default), one.description]),
    ),
    ...objectTables(supported),
    `Inputs that are not supported (the error message names the alternative): ${refused.map(({ name }) => code(name)).join(', ')}.`,
  ].join('\n\n');
}

/** Outputs as Markdown. */
export function outputTable(outputs: readonly Output[]): string {
  return table(
    ['Output', 'Description'],
    outputs.map(({ name, description }) => [code(name), description]),
  );
}

/** Inputs with the same attributes share one table. */
function objectTables(variables: readonly Variable[]): string[] {
  const objects = variables.filter(({ attributes }) => attributes.length > 0);
  const byRows = Map.groupBy(objects, ({ attributes }) => JSON.stringify(attributes));
  return [...byRows.values()].map((same) => {
    const title = same.map(({ name }) => code(name)).join(', ');
    const rows = (same[0]?.attributes ?? []).map((one) => [
      code(one.name),
      code(one.type),
      fallback(one.default),
    ]);
    return `Attributes of ${title}:\n\n${table(['Attribute', 'Type', 'Default'], rows)}`;
  });
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const code = (text: string) => `\`${text.replaceAll('|', '\\|')}\``;

function fallback(value: string | undefined): string {
  return value === undefined ? '(required)' : code(value);
}

/**
 * Puts text between `<!-- name -->` and `<!-- /name -->`.
 *
 * @throws if the page does not contain both markers in this order
 */
export function replaceBlock(page: string, name: string, text: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(open), page.indexOf(close)];
  if (from < 0 || to < from) throw new Error(`the page has no ${open} … ${close}`);
  return `${page.slice(0, from + open.length)}\n\n${text}\n\n${page.slice(to)}`;
}
