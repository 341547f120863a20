import type { Output, Variable } from './hcl.ts';

/** Inputs as Markdown: a table of all, and a table of its own for what an object is made of. */
export function inputTables(variables: readonly Variable[]): string {
  const refused = variables.filter(({ description }) => description === 'Refused.');
  const taken = variables.filter((variable) => !refused.includes(variable));
  return [
    table(
      ['Input', 'Type', 'Default', 'What it is'],
      taken.map((one) => [code(one.name), code(one.type), fallback(one.default), one.description]),
    ),
    ...objectTables(taken),
    `Refused, each with what to do instead: ${refused.map(({ name }) => code(name)).join(', ')}.`,
  ].join('\n\n');
}

/** Outputs as Markdown. */
export function outputTable(outputs: readonly Output[]): string {
  return table(
    ['Output', 'What it is'],
    outputs.map(({ name, description }) => [code(name), description]),
  );
}

/** Inputs that are made of the same attributes, such as groups of two hosts, share a table. */
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
    return `What ${title} is made of:\n\n${table(['Attribute', 'Type', 'Default'], rows)}`;
  });
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const code = (text: string) => `\`${text.replaceAll('|', '\\|')}\``;

function fallback(value: string | undefined): string {
  return value === undefined ? '(needed)' : code(value);
}

/**
 * Puts text between `<!-- name -->` and `<!-- /name -->`.
 *
 * @throws if the markers are not there, in that order
 */
export function replaceBlock(page: string, name: string, text: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(open), page.indexOf(close)];
  if (from < 0 || to < from) throw new Error(`the page has no ${open} … ${close}`);
  return `${page.slice(0, from + open.length)}\n\n${text}\n\n${page.slice(to)}`;
}
