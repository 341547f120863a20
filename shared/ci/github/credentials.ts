import { createHash, createPrivateKey } from 'node:crypto';
import * as v from 'valibot';
import { issuesText } from '../../runtime/validate.ts';
import { isPlaceholder, parseSecretJson, readSecret, type Secrets, unusableSecret } from '../credential.ts';
import type { SettingsOf } from '../provider.ts';

/** What authenticates calls to GitHub: a GitHub App, or a token as it is. `secretId` is where it comes from. */
export type GithubCredential =
  | { kind: 'app'; secretId: string; appId: string; privateKey: string; fingerprint: string }
  | { kind: 'token'; secretId: string; token: string };

const app = v.object({
  /** The App's id, or its client id. */
  appId: v.union([
    v.pipe(v.string(), v.trim(), v.nonEmpty()),
    v.pipe(v.number(), v.integer(), v.minValue(1)),
  ]),
  privateKey: v.string(),
});

/** One App, or several with the same installations: each has limits of its own. */
const appSecret = v.union([v.pipe(v.array(app), v.minLength(1)), app]);

/**
 * The credential for the calls about `key`. Several Apps share the keys evenly, and one key always gets the same App.
 *
 * @throws {ProviderError} `credential`, naming the secret
 */
export async function githubCredential(
  secrets: Secrets,
  settings: Pick<SettingsOf<'gha'>, 'appSecret' | 'tokenSecret'>,
  key: string,
): Promise<GithubCredential> {
  const text = await readSecret(secrets, settings.appSecret);
  if (text !== undefined) return pick(parseApps(secrets, settings.appSecret, text), key);
  const token = await readSecret(secrets, settings.tokenSecret);
  if (token === undefined) {
    const problem = `has no GitHub App yet, and the secret ${settings.tokenSecret} has no token`;
    throw unusableSecret(secrets, settings.appSecret, problem);
  }
  // A header would refuse it, with an error that quotes it.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw unusableSecret(secrets, settings.tokenSecret, 'is not a token: it has spaces or other characters');
  }
  return { kind: 'token', secretId: settings.tokenSecret, token };
}

function parseApps(secrets: Secrets, secretId: string, text: string): GithubCredential[] {
  const parsed = v.safeParse(appSecret, parseSecretJson(secrets, secretId, text));
  if (!parsed.success) {
    const problem = `is not {"appId", "privateKey"} or a list of these: ${issuesText(parsed.issues)}`;
    throw unusableSecret(secrets, secretId, problem);
  }
  const apps = Array.isArray(parsed.output) ? parsed.output : [parsed.output];
  return apps.map(({ appId, privateKey }, index) => {
    // JSON that was put together by hand has the two characters \n in the place of each line break.
    const pem = privateKey.replaceAll('\\n', '\n').trim();
    const place = apps.length > 1 ? ` of App ${index + 1}` : '';
    if (isPlaceholder(pem)) throw unusableSecret(secrets, secretId, `has no privateKey${place}`);
    try {
      // One format for all: GitHub hands out PKCS#1.
      const key = createPrivateKey(pem);
      if (key.asymmetricKeyType !== 'rsa') throw new Error('not RSA');
      const privateKeyPem = String(key.export({ type: 'pkcs8', format: 'pem' }));
      const fingerprint = createHash('sha256').update(privateKeyPem).digest('hex').slice(0, 16);
      return { kind: 'app', secretId, appId: String(appId), privateKey: privateKeyPem, fingerprint };
    } catch {
      throw unusableSecret(secrets, secretId, `has a privateKey${place} that is not an RSA key in PEM`);
    }
  });
}

function pick(credentials: readonly GithubCredential[], key: string): GithubCredential {
  const index = createHash('sha256').update(key).digest().readUInt32BE() % credentials.length;
  return credentials[index] as GithubCredential;
}
