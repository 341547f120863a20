import * as v from 'valibot';
import { issuesText } from '../../runtime/validate.ts';
import { isPlaceholder, parseSecretJson, readSecret, type Secrets, unusableSecret } from '../credential.ts';
import type { IssueRequest, RegistrationClient, SettingsOf } from '../provider.ts';

const credentialsSchema = v.object({
  /** `<namespace>/<resource class>`. */
  resource_class: v.pipe(v.string(), v.trim(), v.regex(/^[^\s/]+\/[^\s/]+$/, 'must be <namespace>/<class>')),
  /** Token of the resource class: it may claim tasks of this class, and nothing else. */
  auth_token: v.pipe(v.string(), v.trim(), v.nonEmpty('must not be empty')),
});

/**
 * CircleCI has no registration per agent: every agent of a resource class has the token of the class, which can do nothing but claim
 * its tasks. Nothing is called.
 */
export function circleciAgents(settings: SettingsOf<'cci'>, secrets: Secrets): RegistrationClient {
  const secretId = settings.credentialsSecret;

  async function issue({ name }: IssueRequest) {
    const text = await readSecret(secrets, secretId);
    if (text === undefined) throw unusableSecret(secrets, secretId, 'has no CircleCI credentials yet');
    const parsed = v.safeParse(credentialsSchema, parseSecretJson(secrets, secretId, text));
    if (!parsed.success) throw unusableSecret(secrets, secretId, issuesText(parsed.issues));
    const { resource_class: resourceClass, auth_token: authToken } = parsed.output;
    if (isPlaceholder(authToken)) throw unusableSecret(secrets, secretId, 'has no auth_token yet');
    return { registration: { provider: 'cci' as const, name, resourceClass, authToken } };
  }

  return { installation: undefined, issue, removable: undefined };
}
