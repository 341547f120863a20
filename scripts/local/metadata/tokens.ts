import { randomBytes } from 'node:crypto';

/** Life of a session token in seconds: 1 second to 6 hours (EC2 User Guide, "IMDSv2"). */
const LONGEST_TTL = 21_600;

/** Session tokens of IMDSv2; one belongs to the instance that asked for it. */
export type Tokens = {
  /** A token, or undefined if EC2 does not allow the lifetime. */
  issue(instanceId: string, ttl: string | undefined): { token: string; ttl: number } | undefined;
  isValid(instanceId: string, token: string | undefined): boolean;
  /** Forgets the tokens of an instance that is gone. */
  revoke(instanceId: string): void;
};

/** @param now milliseconds */
export function createTokens(now: () => number): Tokens {
  const tokens = new Map<string, { instanceId: string; expiresAt: number }>();
  return {
    issue(instanceId, ttl) {
      const seconds = /^\d{1,5}$/.test(ttl ?? '') ? Number(ttl) : 0;
      if (seconds < 1 || seconds > LONGEST_TTL) return undefined;
      for (const [token, { expiresAt }] of tokens) if (expiresAt <= now()) tokens.delete(token);
      const token = `${randomBytes(42).toString('base64url')}==`;
      tokens.set(token, { instanceId, expiresAt: now() + seconds * 1000 });
      return { token, ttl: seconds };
    },
    isValid(instanceId, token) {
      const found = tokens.get(token ?? '');
      return found !== undefined && found.instanceId === instanceId && found.expiresAt > now();
    },
    revoke(instanceId) {
      for (const [token, owner] of tokens) if (owner.instanceId === instanceId) tokens.delete(token);
    },
  };
}
