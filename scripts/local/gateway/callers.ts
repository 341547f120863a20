import { createHash, randomBytes } from 'node:crypto';

/** The signer of a call: a session of a role. */
export type Caller = {
  /** Name for people: `lifecycle`, `i-0123…`, `operator`. */
  name: string;
  role: string;
  /** Session of the role; for an instance its id. */
  session: string;
};

/** Credentials that the SDK takes from its environment. */
export type AccessKey = { accessKeyId: string; secretAccessKey: string };

/** Sender of the messages that rules and schedules put into queues: the id of the service instead of a role. */
export const SERVICE_SENDER = 'AIDALOCALEVENTS000000';

/** The secret of every access key. Access keys identify a caller of the local cloud, and protect nothing. */
export const SECRET_ACCESS_KEY = 'local';

/** The callers, by access key. */
export type Callers = {
  /** A new access key for a caller. */
  issue(caller: Caller): AccessKey;
  /** Registers a key that a function's worker made for itself. */
  register(accessKeyId: string, caller: Caller): void;
  /** The caller with this key; undefined if there is none. */
  find(accessKeyId: string | undefined): Caller | undefined;
  /** The caller with this key, or one with the name `unknown`. */
  of(accessKeyId: string | undefined): Caller;
};

/** The unique id of a role: `AROA` and 17 characters, as IAM gives it. One role has one id in all local clouds. */
export function roleId(role: string): string {
  return `AROA${createHash('sha256').update(role).digest('hex').slice(0, 17).toUpperCase()}`;
}

/** `<role id>:<session>`: the `SenderId` of its messages in SQS, and its `userId` in IAM. */
export function senderId({ role, session }: Pick<Caller, 'role' | 'session'>): string {
  return `${roleId(role)}:${session}`;
}

export function createCallers(): Callers {
  const byKey = new Map<string, Caller>();
  const find = (accessKeyId: string | undefined) =>
    accessKeyId === undefined ? undefined : byKey.get(accessKeyId);
  return {
    issue(caller) {
      const accessKeyId = `LKIA${randomBytes(8).toString('hex').toUpperCase()}`;
      byKey.set(accessKeyId, caller);
      return { accessKeyId, secretAccessKey: SECRET_ACCESS_KEY };
    },
    register(accessKeyId, caller) {
      byKey.set(accessKeyId, caller);
    },
    find,
    of(accessKeyId) {
      return find(accessKeyId) ?? { name: 'unknown', role: 'unknown', session: accessKeyId ?? 'unsigned' };
    },
  };
}
