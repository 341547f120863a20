import * as v from 'valibot';
import { PermanentError } from './errors.ts';

/**
 * Parses `input` with `schema`, or says in one line what is wrong and where.
 *
 * @throws {PermanentError} with `reason`, naming the path of the first few problems. The value itself is not
 *   repeated: it may be huge, hostile or secret.
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

/** Words that a schema brings are its own; those that valibot makes up (`Invalid …`) repeat the value. */
function problem(issue: v.BaseIssue<unknown>): string {
  return issue.message.startsWith('Invalid ') ? `expected ${issue.expected ?? issue.type}` : issue.message;
}
