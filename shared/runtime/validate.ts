import * as v from 'valibot';
import { PermanentError } from './errors.ts';

/**
 * Parses `input` with `schema`, or says in one line what is wrong and where.
 *
 * @throws {PermanentError} with `reason`, naming the path of the first few problems. The value itself is not
 *   repeated: it may be huge, hostile or secret.
 */
export function parseOrDie<S extends v.GenericSchema>(
  schema: S,
  input: unknown,
  reason: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, input);
  if (result.success) return result.output;
  throw new PermanentError(reason, issuesText(result.issues));
}

/** The first three problems of a failed parse as `path: message`, without the received values. */
export function issuesText(issues: readonly v.BaseIssue<unknown>[]): string {
  return issues
    .slice(0, 3)
    .map((issue) => `${v.getDotPath(issue) ?? '(root)'}: expected ${issue.expected ?? issue.type}`)
    .join('; ');
}
