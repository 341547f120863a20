/** What a path-style S3 call addresses. */
export type S3Address = { bucket: string; key: string };

/** The bucket and the key of a path, decoded; both empty for the service itself. */
export function s3Address(path: string): S3Address {
  const [, bucket = '', ...rest] = path.split('/');
  return { bucket: decodeURIComponent(bucket), key: decodeURIComponent(rest.join('/')) };
}

type S3Call = {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Readonly<Record<string, string>>;
};

/** Sub-resources that settings of a bucket or an object go by, with the word in the operation's name. */
const SETTINGS: Record<string, string> = {
  acl: 'Acl',
  cors: 'BucketCors',
  encryption: 'BucketEncryption',
  lifecycle: 'BucketLifecycleConfiguration',
  notification: 'BucketNotificationConfiguration',
  policy: 'BucketPolicy',
  publicAccessBlock: 'PublicAccessBlock',
  tagging: 'Tagging',
  versioning: 'BucketVersioning',
  location: 'BucketLocation',
};

const OBJECT_VERBS: Record<string, string> = {
  GET: 'GetObject',
  HEAD: 'HeadObject',
  PUT: 'PutObject',
  DELETE: 'DeleteObject',
};

const BUCKET_VERBS: Record<string, string> = {
  GET: 'ListObjects',
  HEAD: 'HeadBucket',
  PUT: 'CreateBucket',
  DELETE: 'DeleteBucket',
};

/** A call of S3 does not name its operation: method, path and query together identify it. */
export function s3Operation(call: S3Call): string {
  const { bucket, key } = s3Address(call.path);
  if (bucket === '') return 'ListBuckets';
  return multipart(call) ?? setting(call) ?? (key === '' ? ofBucket(call) : ofObject(call));
}

function multipart({ method, query, headers }: S3Call): string | undefined {
  if (method === 'POST' && query.has('uploads')) return 'CreateMultipartUpload';
  if (method === 'GET' && query.has('uploads')) return 'ListMultipartUploads';
  if (!query.has('uploadId')) return undefined;
  if (method === 'PUT') return 'x-amz-copy-source' in headers ? 'UploadPartCopy' : 'UploadPart';
  if (method === 'POST') return 'CompleteMultipartUpload';
  return method === 'DELETE' ? 'AbortMultipartUpload' : 'ListParts';
}

function setting({ method, query }: S3Call): string | undefined {
  const found = Object.keys(SETTINGS).find((name) => query.has(name));
  if (!found) return undefined;
  const verb = { GET: 'Get', PUT: 'Put', DELETE: 'Delete' }[method] ?? method;
  return `${verb}${SETTINGS[found]}`;
}

function ofBucket({ method, query }: S3Call): string {
  if (method === 'POST' && query.has('delete')) return 'DeleteObjects';
  if (method === 'GET' && query.get('list-type') === '2') return 'ListObjectsV2';
  if (method === 'GET' && query.has('versions')) return 'ListObjectVersions';
  return BUCKET_VERBS[method] ?? method;
}

function ofObject({ method, headers }: S3Call): string {
  if (method === 'PUT' && 'x-amz-copy-source' in headers) return 'CopyObject';
  return OBJECT_VERBS[method] ?? method;
}
