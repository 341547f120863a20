/** Who signed a call, and for which service and region. */
export type Signature = { accessKeyId: string; region: string; service: string };

/** `<access key>/<date>/<region>/<service>/aws4_request` (Signature Version 4, "credential scope"). */
const SCOPE = /^([^/]+)\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request$/;

/**
 * Reads the signature's scope out of the `Authorization` header or, of a presigned call, out of the query. It is not
 * verified: the gateway only has to know who speaks to whom.
 *
 * @returns undefined if the call is not signed
 */
export function readSignature(
  authorization: string | undefined,
  query: URLSearchParams,
): Signature | undefined {
  const scope = /Credential=([^,\s]+)/.exec(authorization ?? '')?.[1] ?? query.get('X-Amz-Credential') ?? '';
  const [, accessKeyId, region, service] = SCOPE.exec(scope) ?? [];
  if (!accessKeyId || !region || !service) return undefined;
  return { accessKeyId, region, service };
}
