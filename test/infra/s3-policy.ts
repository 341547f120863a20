import * as v from 'valibot';
import type { S3Request } from '../support/s3-server.ts';
import { covers, type Statement } from './state.ts';

/** An operation of S3 as IAM sees it: actions, each with its resource, and the keys of its conditions. */
type Operation = { actions: { action: string; arn: string }[]; context: Record<string, string> };

/**
 * What S3 asks IAM for a request (S3 User Guide, "Required permissions for Amazon S3 API operations", and "Enforce conditional writes
 * on Amazon S3 buckets" for the two keys).
 */
function operationOf({ method, key, query, headers }: S3Request, bucket: string): Operation[] {
  const arn = `arn:aws:s3:::${bucket}/${key}`;
  const one = (action: string, context: Record<string, string> = {}) => [
    { actions: [{ action: `s3:${action}`, arn }], context: { 'aws:SecureTransport': 'true', ...context } },
  ];
  const condition = headers['if-none-match'];
  const write = (isCreation: boolean) => ({
    's3:ObjectCreationOperation': String(isCreation),
    ...(typeof condition === 'string' && { 's3:if-none-match': condition }),
  });
  const source = headers['x-amz-copy-source'];
  const copied =
    typeof source === 'string'
      ? [
          {
            actions: [{ action: 's3:GetObject', arn: `arn:aws:s3:::${decodeURIComponent(source)}` }],
            context: {},
          },
        ]
      : [];
  for (const [name, action] of [
    ['tagging', 'PutObjectTagging'],
    ['acl', 'PutObjectAcl'],
    ['retention', 'PutObjectRetention'],
    ['restore', 'RestoreObject'],
  ] as const)
    if (query.has(name)) return one(action);
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (query.has('list-type') || key === '')
        return [{ actions: [{ action: 's3:ListBucket', arn: `arn:aws:s3:::${bucket}` }], context: {} }];
      return one('GetObject');
    case 'PUT':
      return [...copied, ...one('PutObject', write(!query.has('uploadId')))];
    case 'POST':
      // S3 asks for each key in the body; none of the policies here allows any.
      if (query.has('delete')) return one('DeleteObject');
      return one('PutObject', write(!query.has('uploads')));
    case 'DELETE':
      if (query.has('uploadId')) return one('AbortMultipartUpload');
      return one(query.has('versionId') ? 'DeleteObjectVersion' : 'DeleteObject');
    default:
      throw new Error(`no such request: ${method}`);
  }
}

const conditionSchema = v.optional(
  v.record(v.string(), v.record(v.string(), v.union([v.string(), v.array(v.string())]))),
  {},
);

/** Whether a statement applies (IAM User Guide, "Condition operators"). */
function applies(
  { Action, Resource, Condition }: Statement,
  action: string,
  arn: string,
  context: Operation['context'],
) {
  if (!Action.some((pattern) => covers(pattern, action)) || !Resource.some((pattern) => covers(pattern, arn)))
    return false;
  return Object.entries(v.parse(conditionSchema, Condition)).every(([operator, keys]) =>
    Object.entries(keys).every(([key, expected]) => {
      const values = [expected].flat();
      const present = context[key];
      switch (operator) {
        case 'Null':
          return values.includes(String(present === undefined));
        case 'Bool':
          return present !== undefined && values.includes(present);
        default:
          throw new Error(`the operator ${operator} is not evaluated here`);
      }
    }),
  );
}

/**
 * Judges the requests of a role by its own policies and that of the bucket, which denies for every principal.
 *
 * @param own statements of all policies of the role
 */
export function s3Judge(bucket: string, own: readonly Statement[], ofBucket: readonly Statement[]) {
  return (request: S3Request): boolean =>
    operationOf(request, bucket).every(({ actions, context }) =>
      actions.every(({ action, arn }) => {
        const matching = (statements: readonly Statement[], effect: string) =>
          statements.some((each) => each.Effect === effect && applies(each, action, arn, context));
        if (matching([...own, ...ofBucket], 'Deny')) return false;
        return matching(own, 'Allow');
      }),
    );
}
