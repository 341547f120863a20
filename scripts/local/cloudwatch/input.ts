import * as v from 'valibot';
import { CloudWatchError } from './errors.ts';

/**
 * Parses the input of an operation.
 *
 * @throws {CloudWatchError} InvalidParameterValue, or MissingParameter where something is absent
 */
export function parseInput<S extends v.GenericSchema>(schema: S, input: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, input);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue) ?? 'input';
  if (issue.received === 'undefined') {
    throw new CloudWatchError('MissingParameter', `The parameter ${path} is required.`);
  }
  throw new CloudWatchError(
    'InvalidParameterValue',
    `The value for parameter ${path} is invalid: ${issue.message}`,
  );
}
