import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import * as v from 'valibot';
import { type Incoming, parseBody, Refused } from '../http.ts';
import { secret } from './model.ts';

/** Who calls: an App with its JSON web token, an installation of it, or the holder of a plain token. */

export type Permissions = Readonly<Record<string, 'read' | 'write'>>;

/** One App and where it is installed. */
export type GithubApp = {
  id: number;
  clientId?: string;
  /** PEM. The signature of each JSON web token is verified against it. */
  publicKey: string;
  /** Default: one installation per owner, with all repositories and the permissions that runners need. */
  installations?: readonly Installation[];
};

export type Installation = {
  id: number;
  /** The owner. */
  account: string;
  /** Names without the owner. Default: all. */
  repositories?: readonly string[];
  permissions?: Permissions;
};

const DEFAULT_PERMISSIONS: Permissions = {
  actions: 'read',
  administration: 'write',
  metadata: 'read',
  organization_self_hosted_runners: 'write',
};

export type InstallationToken = {
  hash: string;
  installationId: number;
  /** `owner/name` of each, or null for all of the installation. */
  repositories: string[] | null;
  permissions: Permissions;
  expiresAt: number;
};

export type Caller =
  | { kind: 'app'; app: ResolvedApp; key: string }
  | {
      kind: 'installation';
      token: InstallationToken;
      installation: Installation;
      key: string;
      credential: string;
    }
  | { kind: 'token'; key: string; credential: string };

type ResolvedApp = {
  id: number;
  clientId: string;
  publicKey: KeyObject;
  installations: readonly Installation[];
};

/** GitHub: a JSON web token lives at most 10 minutes. */
const LONGEST_JWT_SECONDS = 600;

const tokenRequest = v.object({
  repositories: v.optional(v.array(v.string())),
  repository_ids: v.optional(v.array(v.number())),
  permissions: v.optional(v.record(v.string(), v.picklist(['read', 'write']))),
});

export type Credentials = ReturnType<typeof githubCredentials>;

/** @param tokens the installation tokens so far; new ones are added to it */
export function githubCredentials(
  apps: readonly GithubApp[],
  plainTokens: readonly string[],
  repositories: readonly string[],
  tokens: InstallationToken[],
  tokenSeconds: () => number,
) {
  const owners = [...new Set(repositories.map((name) => name.split('/')[0] ?? ''))];
  const resolved: ResolvedApp[] = apps.map(({ id, clientId, publicKey, installations }) => ({
    id,
    clientId: clientId ?? `Iv-stand-in-${id}`,
    publicKey: createPublicKey(publicKey),
    installations: installations ?? owners.map((account, index) => ({ id: id * 100 + index + 1, account })),
  }));
  const plain = new Set(plainTokens.map(hashOf));

  /** @throws {Refused} 401 without a valid credential. */
  function callerOf(request: Incoming): Caller {
    const [, value] = /^(?:Bearer|token) (\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    if (value === undefined) throw new Refused(401, 'Requires authentication');
    const hash = hashOf(value);
    const token = tokens.find((candidate) => candidate.hash === hash && candidate.expiresAt > Date.now());
    if (token) {
      const installation = resolved
        .flatMap(({ installations }) => installations)
        .find(({ id }) => id === token.installationId);
      if (!installation) throw new Refused(401, 'Bad credentials');
      const key = `installation ${installation.id}`;
      return { kind: 'installation', token, installation, key, credential: hash };
    }
    if (plain.has(hash)) return { kind: 'token', key: `token ${hash.slice(0, 8)}`, credential: hash };
    if (value.split('.').length === 3) return appOf(value);
    throw new Refused(401, 'Bad credentials');
  }

  function appOf(jwt: string): Caller {
    const [head = '', payload = '', signature = ''] = jwt.split('.');
    const claims = decode(payload);
    const app = resolved.find(
      ({ id, clientId }) => String(id) === String(claims?.iss) || clientId === claims?.iss,
    );
    const signed =
      decode(head)?.alg === 'RS256' &&
      app !== undefined &&
      verify(
        'RSA-SHA256',
        Buffer.from(`${head}.${payload}`),
        app.publicKey,
        Buffer.from(signature, 'base64url'),
      );
    if (!signed) throw new Refused(401, 'A JSON web token could not be decoded');
    const now = Date.now() / 1000;
    const { iat, exp } = claims as Record<string, unknown>;
    if (typeof exp !== 'number' || exp <= now) {
      throw new Refused(
        401,
        "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
      );
    }
    if (exp > now + LONGEST_JWT_SECONDS) {
      throw new Refused(401, "'Expiration time' claim ('exp') is too far in the future");
    }
    // A clock that is a few seconds fast is accepted nowhere: iat belongs into the past.
    if (typeof iat !== 'number' || iat > now) {
      throw new Refused(
        401,
        "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
      );
    }
    return { kind: 'app', app, key: `app ${app.id}` };
  }

  /** The installation of the calling App for an owner, or for one repository of it. */
  function installationOf(caller: Caller, owner: string, repository?: string) {
    if (caller.kind !== 'app') throw new Refused(401, 'A JSON web token could not be decoded');
    const found = caller.app.installations.find(
      (installation) =>
        sameName(installation.account, owner) &&
        (repository === undefined ||
          repositoriesOf(installation).some((name) => sameName(name, `${owner}/${repository}`))),
    );
    if (!found) throw new Refused(404, 'Not Found');
    return {
      id: found.id,
      app_id: caller.app.id,
      account: { login: found.account, type: 'Organization' },
      repository_selection: found.repositories ? 'selected' : 'all',
      permissions: found.permissions ?? DEFAULT_PERMISSIONS,
      suspended_at: null,
    };
  }

  function createToken(caller: Caller, installationId: number, body: unknown) {
    if (caller.kind !== 'app') throw new Refused(401, 'A JSON web token could not be decoded');
    const installation = caller.app.installations.find(({ id }) => id === installationId);
    if (!installation) throw new Refused(404, 'Not Found');
    const asked = parseBody(tokenRequest, body);
    const own = repositoriesOf(installation);
    const names = [
      ...(asked.repositories ?? []).map((name) => `${installation.account}/${name}`),
      ...(asked.repository_ids ?? []).map((id) => repositories[id - 1] ?? `#${id}`),
    ];
    for (const name of names) {
      if (!own.some((candidate) => sameName(candidate, name))) {
        throw new Refused(
          422,
          `There is at least one repository that does not exist or is not accessible to the parent installation.`,
        );
      }
    }
    const granted = installation.permissions ?? DEFAULT_PERMISSIONS;
    for (const [name, level] of Object.entries(asked.permissions ?? {})) {
      if (!allows(granted, name, level)) {
        throw new Refused(422, 'The permissions requested are not granted to this installation.');
      }
    }
    const value = secret();
    const expiresAt = Date.now() + tokenSeconds() * 1000;
    const token: InstallationToken = {
      hash: hashOf(value),
      installationId,
      repositories: names.length > 0 ? names : null,
      permissions: { metadata: 'read', ...(asked.permissions ?? granted) },
      expiresAt,
    };
    tokens.push(token);
    return {
      token: value,
      expires_at: new Date(expiresAt).toISOString().replace(/\.\d+Z$/, 'Z'),
      permissions: token.permissions,
      repository_selection: token.repositories ? 'selected' : 'all',
    };
  }

  /**
   * Checks that the caller may use `permission` on a repository, or on an organization if `repository` is undefined.
   *
   * @throws {Refused} 404 for what the caller cannot see, 403 for a permission that it lacks
   */
  function authorize(
    caller: Caller,
    permission: string,
    level: 'read' | 'write',
    owner: string,
    repository?: string,
  ): void {
    const full = `${owner}/${repository}`;
    const exists =
      repository === undefined
        ? owners.some((name) => sameName(name, owner))
        : repositories.some((name) => sameName(name, full));
    if (!exists) throw new Refused(404, 'Not Found');
    if (caller.kind === 'token') return;
    if (caller.kind === 'app') throw new Refused(403, 'Resource not accessible by integration');
    const visible =
      sameName(caller.installation.account, owner) &&
      (repository === undefined ||
        (caller.token.repositories ?? repositoriesOf(caller.installation)).some((name) =>
          sameName(name, full),
        ));
    if (!visible) throw new Refused(404, 'Not Found');
    if (!allows(caller.token.permissions, permission, level)) {
      throw new Refused(403, 'Resource not accessible by integration', {
        headers: { 'x-accepted-github-permissions': `${permission}=${level}` },
      });
    }
  }

  function repositoriesOf({ account, repositories: names }: Installation): string[] {
    return names
      ? names.map((name) => `${account}/${name}`)
      : repositories.filter((name) => sameName(name.split('/')[0] ?? '', account));
  }

  return { callerOf, installationOf, createToken, authorize };
}

/** Names of owners and repositories have no case. */
function sameName(left: string, right: string): boolean {
  return left.toLowerCase() === right.toLowerCase();
}

function allows(permissions: Permissions, name: string, level: 'read' | 'write'): boolean {
  return permissions[name] === 'write' || permissions[name] === level;
}

function hashOf(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

function decode(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
