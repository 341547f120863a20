import { z } from 'zod';

/**
 * The part of valibot that this project uses, implemented with zod: the benchmark bundles the same functions with it, as if
 * their schemas were written with zod. Every schema becomes the equivalent zod schema. `pipe` applies its steps as methods,
 * since zod chains methods where valibot lists steps.
 */
type Schema = z.ZodType;
type Step = Schema | ((schema: Schema) => Schema);
type Shape = Record<string, Schema>;
type Check = (value: unknown) => boolean;

const step = (accepts: Check, message?: string) => (schema: Schema) => schema.refine(accepts, message);
const sizeOf = (value: unknown) => (value as { length: number }).length;

export const string = () => z.string();
export const number = () => z.number();
export const boolean = () => z.boolean();
export const date = () => z.date();
export const unknown = () => z.unknown();
export const literal = (value: string | number) => z.literal(value);
export const picklist = (values: readonly string[]) => z.enum(values);
export const array = (item: Schema) => z.array(item);
export const object = (shape: Shape) => z.object(shape);
export const strictObject = (shape: Shape) => z.strictObject(shape);
export const record = (key: z.ZodString, value: Schema) => z.record(key, value);
export const variant = (key: string, options: z.ZodObject[]) =>
  z.discriminatedUnion(key, options as [z.ZodObject, ...z.ZodObject[]]);
export const nullable = (schema: Schema) => schema.nullable();
export const fallback = (schema: Schema, value: unknown) => schema.catch(() => value);
export const optional = (schema: Schema, value?: unknown) =>
  value === undefined ? schema.optional() : schema.optional().transform((given) => given ?? value);

export const exactOptional = (schema: Schema) => schema.exactOptional();
export const nullish = (schema: Schema, value?: unknown) =>
  value === undefined ? schema.nullish() : schema.nullish().transform((given) => given ?? value);

export const pipe = (first: Schema, ...steps: Step[]): Schema =>
  steps.reduce<Schema>(
    (schema, next) => (next instanceof z.ZodType ? schema.pipe(next) : next(schema)),
    first,
  );

export const regex = (pattern: RegExp, message?: string) =>
  step((value) => pattern.test(String(value)), message);
export const startsWith = (start: string) => step((value) => String(value).startsWith(start));
export const nonEmpty = (message?: string) => step((value) => sizeOf(value) > 0, message);
export const minLength = (least: number) => step((value) => sizeOf(value) >= least);
export const maxLength = (most: number) => step((value) => sizeOf(value) <= most);
export const minValue = (least: number) => step((value) => Number(value) >= least);
export const maxValue = (most: number) => step((value) => Number(value) <= most);
export const integer = () => step(Number.isInteger);
export const safeInteger = () => step(Number.isSafeInteger);
export const check = (accepts: Check, message?: string) => step(accepts, message);
export const isoTimestamp = () => (schema: Schema) => schema.pipe(z.iso.datetime({ offset: true }));
export const url = () => (schema: Schema) => schema.pipe(z.url());
export const transform = (change: (value: unknown) => unknown) => (schema: Schema) =>
  schema.transform(change);

export const parseJson = (_: unknown, message?: string) => (schema: Schema) =>
  schema.transform((text, context) => {
    try {
      return JSON.parse(String(text));
    } catch {
      context.addIssue(message ?? 'must be JSON');
      return z.NEVER;
    }
  });

export const parse = (schema: Schema, input: unknown) => schema.parse(input);
export const is = (schema: Schema, input: unknown) => schema.safeParse(input).success;

export function safeParse(schema: Schema, input: unknown) {
  const result = schema.safeParse(input);
  if (result.success) return { success: true, output: result.data };
  return { success: false, issues: result.error.issues.map((issue) => ({ ...issue, type: issue.code })) };
}

export const getDotPath = (issue: { path: PropertyKey[] }) => issue.path.map(String).join('.') || undefined;
