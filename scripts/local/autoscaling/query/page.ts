import { AutoScalingError } from '../core/errors.ts';
import type { Form } from './form.ts';

/**
 * One page of `items` as `MaxRecords` and `NextToken` ask for it.
 *
 * @throws {AutoScalingError} InvalidNextToken if the token is not one of ours
 */
export function page<T>(
  items: readonly T[],
  form: Form,
  usual: number,
  most: number,
): { items: T[]; nextToken: string | undefined } {
  const size = Math.min(most, Math.max(1, form.integer('MaxRecords') ?? usual));
  const token = form.text('NextToken');
  const match = /^after-(\d{1,9})$/.exec(token ?? 'after-0');
  if (match === null) throw new AutoScalingError('InvalidNextToken', `Invalid next token: ${token}`);
  const start = Number(match[1]);
  const end = start + size;
  return { items: items.slice(start, end), nextToken: end < items.length ? `after-${end}` : undefined };
}
