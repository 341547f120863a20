import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';

/** A recipe of the docs: one entry of `warming_sets`. */
export type Recipe = {
  name: string;
  /** The entry, as Terraform has it. */
  text: string;
  directory: string;
  paths: string[];
  command: string[];
};

const list = v.pipe(v.string(), v.parseJson(), v.array(v.string()));

/** The recipes on the page about warming, in order. Their lists and texts are also JSON. */
export function recipes(): Recipe[] {
  const page = readFileSync(join(import.meta.dirname, '../../docs/warming.md'), 'utf8');
  return [...page.matchAll(/^```hcl\n(([a-z]+) = \{\n.*?^\}\n)```$/gms)].map(([, text = '', name = '']) => {
    const value = (attribute: string) => new RegExp(`^ *${attribute} *= (.*)$`, 'm').exec(text)?.[1];
    return {
      name,
      text,
      directory: v.parse(v.pipe(v.string(), v.parseJson(), v.string()), value('directory')),
      paths: v.parse(list, value('paths')),
      command: v.parse(list, value('command')),
    };
  });
}
