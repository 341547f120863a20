import type { Output, Variable } from './hcl.ts';

/** Start of the description of an input that the module declares only to refuse it. */
const NOT_SUPPORTED = 'Not supported:';

/** Start of the description of an input that the module accepts and ignores. */
const NO_EFFECT = 'No effect:';

/** End of the description of a required input whose absence the module reports itself. */
const REQUIRED = ' Required.';

/**
 * Inputs as Markdown: one table of all inputs, and one table per object type. Inputs without effect, and inputs that are not
 * supported, are listed last.
 */
export function inputTables(variables: readonly Variable[]): string {
  const refused = variables.filter(({ description }) => description.startsWith(NOT_SUPPORTED));
  const ignored = variables.filter(({ description }) => description.startsWith(NO_EFFECT));
  const supported = variables.filter(
    (variable) => !refused.includes(variable) && !ignored.includes(variable),
  );
  return [
    table(
      ['Input', 'Type', 'Default', 'Description'],
      supported.map(({ name, type, description, ...one }) =>
        description.endsWith(REQUIRED)
          ? [code(name), code(type), fallback(undefined), description.slice(0, -REQUIRED.length)]
          : [code(name), code(type), fallback(one.default), description],
      ),
    ),
    ...objectTables(supported),
    `Inputs without effect (the plan warns about them): ${ignored.map(({ name }) => code(name)).join(', ')}.`,
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
      one.description,
    ]);
    return `Attributes of ${title}:\n\n${table(['Attribute', 'Type', 'Default', 'Description'], rows)}`;
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
