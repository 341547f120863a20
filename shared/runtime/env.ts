import * as v from 'valibot';
import { ConfigurationError } from './errors.ts';

/** Environment values by name, each with the schema that its text must pass. */
export type EnvShape = Record<string, v.GenericSchema<unknown, unknown>>;

/** What `readEnv` returns for a shape. */
export type Env<S extends EnvShape> = { [K in keyof S]: v.InferOutput<S[K]> };

/** Text that is not empty: in Lambda an unset value and an empty one are the same. */
export const text = v.pipe(v.string(), v.nonEmpty('must not be empty'));

/** A URL. */
export const url = v.pipe(text, v.url('must be a URL'));

/** The environment value that every function.json names: the prefix of the deployment. Every metric carries it. */
export const DEPLOYMENT_ENV = { NAME_PREFIX: text };

/** JSON text whose value passes `schema`. */
export function json<S extends v.GenericSchema>(schema: S) {
  return v.pipe(text, v.parseJson({}, 'must be JSON'), schema);
}

/**
 * Reads and validates the environment. One error lists every problem, so one repair of the deployment is enough. The error
 * contains no value, since a value can be a secret that was set by mistake.
 *
 * @throws {ConfigurationError}
 */
export function readEnv<S extends EnvShape>(
  shape: S,
  source: Record<string, string | undefined> = process.env,
): Env<S> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(shape)) {
    const result = v.safeParse(schema, source[name]);
    if (result.success) values[name] = result.output;
    else problems.push(`${name} ${source[name] ? result.issues[0].message : 'is not set'}`);
  }
  if (problems.length > 0) {
    throw new ConfigurationError(
      `the function's environment is wrong: ${problems.join('; ')}. Terraform sets these values: apply again.`,
    );
  }
  return values as Env<S>;
}
