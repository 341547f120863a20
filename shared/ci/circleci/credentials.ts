import * as v from 'valibot';
import { issuesText } from '../../runtime/validate.ts';
import { isPlaceholder, parseSecretJson, readSecret, type Secrets, unusableSecret } from '../credential.ts';
import type { IssueRequest, RegistrationClient, SettingsOf } from '../provider.ts';

/** `<namespace>/<resource class>`. */
const resourceClass = v.pipe(
  v.string(),
  v.trim(),
  v.regex(/^[^\s/]+\/[^\s/]+$/, 'must be <namespace>/<class>'),
);

const agentSchema = v.object({
  resource_class: resourceClass,
  /** Token of the resource class: it may claim tasks of this class, and nothing else. */
  auth_token: v.pipe(v.string(), v.trim(), v.nonEmpty('must not be empty')),
});

const apiSchema = v.object({
  resource_class: resourceClass,
  /** A personal API token, or a project token that can read: the token of the class cannot read its backlog. */
  access_token: v.pipe(
    v.string(),
    v.trim(),
    // A header would refuse it, with an error that quotes it.
    v.regex(/^[\x21-\x7e]+$/, 'must be a token without spaces'),
  ),
});

/**
 * CircleCI has no registration per agent: every agent of a resource class has the token of the class, which can do nothing but claim
 * its tasks. Nothing is called.
 */
export function circleciAgents(settings: SettingsOf<'cci'>, secrets: Secrets): RegistrationClient {
  const secretId = settings.credentialsSecret;

  async function issue({ name }: IssueRequest) {
    const credentials = await readCredentials(secrets, secretId, agentSchema);
    const { resource_class: resourceClass, auth_token: authToken } = credentials;
    if (isPlaceholder(authToken)) throw unusableSecret(secrets, secretId, 'has no auth_token yet');
    return { registration: { provider: 'cci' as const, name, resourceClass, authToken } };
  }

  return { installation: undefined, issue, removable: undefined };
}

/**
 * The resource class of a group, and the token that reads its backlog.
 *
 * @throws {ProviderError} `credential`, naming the secret
 */
export async function circleciApi(
  secrets: Secrets,
  secretId: string,
): Promise<{ resourceClass: string; accessToken: string }> {
  const { resource_class, access_token } = await readCredentials(secrets, secretId, apiSchema);
  if (isPlaceholder(access_token)) throw unusableSecret(secrets, secretId, 'has no access_token yet');
  return { resourceClass: resource_class, accessToken: access_token };
}

async function readCredentials<S extends v.GenericSchema>(
  secrets: Secrets,
  secretId: string,
  schema: S,
): Promise<v.InferOutput<S>> {
  const text = await readSecret(secrets, secretId);
  if (text === undefined) throw unusableSecret(secrets, secretId, 'has no CircleCI credentials yet');
  const parsed = v.safeParse(schema, parseSecretJson(secrets, secretId, text));
  if (!parsed.success) throw unusableSecret(secrets, secretId, issuesText(parsed.issues));
  return parsed.output;
}
