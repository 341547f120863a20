import { randomBytes } from 'node:crypto';

/** The signer of a call: a function, an instance or an operator. */
export type Caller = {
  /** `lifecycle`, `i-0123…`, `operator`. */
  name: string;
  /** The `SenderId` of its messages in SQS. */
  senderId: string;
};

/** Credentials that the SDK takes from its environment. */
export type AccessKey = { accessKeyId: string; secretAccessKey: string };

/** Sender of the messages that rules and schedules put into queues: the id of the service instead of a role. */
export const SERVICE_SENDER = 'AIDALOCALEVENTS000000';

/** The callers, by access key. */
export type Callers = {
  /** A new access key for a caller. */
  issue(caller: Caller): AccessKey;
  /** Registers a key that a function's worker made for itself. */
  register(accessKeyId: string, caller: Caller): void;
  /** The caller with this key, or `unknown`. */
  of(accessKeyId: string | undefined): Caller;
};

/** The `SenderId` of a role's session, as SQS writes it. */
export function roleSender(role: string, session: string): string {
  return `AROALOCAL${role.toUpperCase().replaceAll(/[^A-Z0-9]/g, '')}:${session}`;
}

export function createCallers(): Callers {
  const byKey = new Map<string, Caller>();
  return {
    issue(caller) {
      const accessKeyId = `LKIA${randomBytes(8).toString('hex').toUpperCase()}`;
      byKey.set(accessKeyId, caller);
      return { accessKeyId, secretAccessKey: 'local' };
    },
    register(accessKeyId, caller) {
      byKey.set(accessKeyId, caller);
    },
    of(accessKeyId) {
      const unknown = { name: 'unknown', senderId: roleSender('unknown', accessKeyId ?? 'unsigned') };
      return (accessKeyId !== undefined && byKey.get(accessKeyId)) || unknown;
    },
  };
}
