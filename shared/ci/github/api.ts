import githubAppJwt from 'universal-github-app-jwt';
import * as v from 'valibot';
import type { Clock } from '../../runtime/clock.ts';
import { registerSecret } from '../../runtime/redact.ts';
import { type Secrets, unusableSecret } from '../credential.ts';
import { type CallOptions, ProviderError, type SettingsOf } from '../provider.ts';
import { callProvider, type ProviderAnswer, type ProviderRequest } from '../request.ts';
import type { GithubCredential } from './credentials.ts';

/** GitHub's REST API with an installation token, or with a plain token. */

/** Time before its end at which an installation token is replaced, in milliseconds. */
const RENEW_MS = 5 * 60_000;

const HEADERS = {
  accept: 'application/vnd.github+json',
  // Supported until March 2028 at least (GitHub Docs, "API Versions").
  'x-github-api-version': '2022-11-28',
};

/** Permissions of an installation token, by GitHub's names. */
export type Permissions = Readonly<Record<string, 'read' | 'write'>>;

type Token = { token: string; expiresAt: number };

/** Installation tokens by credential, scope and permissions. It lives as long as its execution environment. */
export type TokenCache = Map<string, Token>;

export type GithubApiOptions = CallOptions & {
  settings: Pick<SettingsOf<'gha'>, 'apiUrl' | 'owner' | 'repository'>;
  credential: GithubCredential;
  /** Reads the credential again. */
  readCredential: () => Promise<GithubCredential>;
  permissions: Permissions;
  secrets: Secrets;
  tokens: TokenCache;
  clock: Clock;
};

/** One authenticated call; the path begins with a slash. */
export type GithubCall = Omit<ProviderRequest, 'provider' | 'url' | 'headers'> & {
  path: string;
  /** ETag of an earlier answer. If it is still valid, the answer has status 304 and no body; `accept` must contain 304. */
  ifNoneMatch?: string;
};

const installationSchema = v.object({ id: v.number() });
const tokenSchema = v.object({
  token: v.pipe(v.string(), v.nonEmpty()),
  expires_at: v.pipe(v.string(), v.isoTimestamp()),
});

/**
 * Calls of one installation. A token is narrowed to the repository, if there is one, and to `permissions`. If GitHub refuses it, it
 * is dropped, the secret is read again, and the call is repeated once.
 *
 * @returns a function that throws `ProviderError`
 */
export function githubApi(options: GithubApiOptions): (call: GithubCall) => Promise<ProviderAnswer> {
  const { settings, secrets, tokens } = options;
  let { credential } = options;

  const send: Send = ({ path, ifNoneMatch, ...rest }, authorization) => {
    const url = `${settings.apiUrl.replace(/\/+$/, '')}${path}`;
    const request = {
      ...rest,
      provider: 'GitHub',
      url,
      headers: {
        ...HEADERS,
        authorization,
        ...(ifNoneMatch !== undefined && { 'if-none-match': ifNoneMatch }),
      },
    };
    return callProvider(request, options);
  };
  const attempt = async (call: GithubCall) => {
    const token = await tokenFor({ ...options, credential }, send);
    return send(call, `Bearer ${token}`);
  };

  return async (call) => {
    try {
      return await attempt(call);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
    }
    // A token ends early when the App is suspended, or when its installation or its key changes.
    tokens.delete(cacheKey({ ...options, credential }));
    secrets(credential.secretId).refresh();
    credential = await options.readCredential();
    try {
      return await attempt(call);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
      throw unusableSecret(secrets, credential.secretId, `is refused: ${error.message}`, { cause: error });
    }
  };
}

function isUnauthorized(error: unknown): error is ProviderError {
  return error instanceof ProviderError && error.status === 401;
}

type Send = (call: GithubCall, authorization: string) => Promise<ProviderAnswer>;

async function tokenFor(options: GithubApiOptions, send: Send): Promise<string> {
  const { credential, tokens, clock } = options;
  if (credential.kind === 'token') return credential.token;
  const key = cacheKey(options);
  const cached = tokens.get(key);
  if (cached && cached.expiresAt - RENEW_MS > clock.now().getTime()) return cached.token;
  const fresh = await createToken(options, send);
  tokens.set(key, fresh);
  return fresh.token;
}

async function createToken(options: GithubApiOptions, send: Send): Promise<Token> {
  const { settings, credential, permissions, clock } = options;
  if (credential.kind !== 'app') throw new TypeError('a plain token has no installation');
  const { token: jwt } = await githubAppJwt({
    id: credential.appId,
    privateKey: credential.privateKey,
    now: Math.floor(clock.now().getTime() / 1000),
  });
  const owner = encodeURIComponent(settings.owner);
  const of =
    settings.repository === undefined
      ? `/orgs/${owner}/installation`
      : `/repos/${owner}/${encodeURIComponent(settings.repository)}/installation`;
  const { body } = await send({ method: 'GET', path: of }, `Bearer ${jwt}`);
  const { id } = readAnswer(installationSchema, body);
  const narrowed = settings.repository === undefined ? {} : { repositories: [settings.repository] };
  const answer = await send(
    { method: 'POST', path: `/app/installations/${id}/access_tokens`, body: { ...narrowed, permissions } },
    `Bearer ${jwt}`,
  );
  const created = readAnswer(tokenSchema, answer.body);
  registerSecret(created.token);
  return { token: created.token, expiresAt: Date.parse(created.expires_at) };
}

function cacheKey({ settings, credential, permissions }: GithubApiOptions): string {
  const who = credential.kind === 'app' ? `${credential.appId} ${credential.fingerprint}` : '';
  return JSON.stringify([settings.apiUrl, settings.owner, settings.repository ?? null, who, permissions]);
}

/** @throws {ProviderError} `unavailable` if GitHub's answer has another format */
export function readAnswer<S extends v.GenericSchema>(schema: S, body: unknown): v.InferOutput<S> {
  const parsed = v.safeParse(schema, body);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new ProviderError(
    'unavailable',
    `GitHub's answer has another format: ${v.getDotPath(issue) ?? '(root)'} is not ${issue.expected}`,
  );
}
