import * as v from 'valibot';
import { PermanentError } from './errors.ts';

/**
 * Parses `input` with `schema`.
 *
 * @throws {PermanentError} with `reason`. The message names the paths of the first problems and contains no value, since a
 *   value can be large, hostile or secret.
 */
export function parseOrReject<S extends v.GenericSchema>(
  schema: S,
  input: unknown,
  reason: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, input);
  if (result.success) return result.output;
  throw new PermanentError(reason, issuesText(result.issues));
}

/** The first three problems of a failed parse as `path: problem`, without the received values. */
export function issuesText(issues: readonly v.BaseIssue<unknown>[]): string {
  return issues
    .slice(0, 3)
    .map((issue) => `${v.getDotPath(issue) ?? '(root)'}: ${problem(issue)}`)
    .join('; ');
}

/** Messages that a schema defines are kept. The default messages of valibot (`Invalid …`) contain the value. */
function problem(issue: v.BaseIssue<unknown>): string {
  return issue.message.startsWith('Invalid ') ? `expected ${issue.expected ?? issue.type}` : issue.message;
}
