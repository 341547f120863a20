import type { GroupSettings } from '../fleet/group-settings.ts';
import type { Registration } from '../fleet/registration.ts';

/** What the functions need of a CI provider: one implementation per provider, none of which starts a process. */

/** What kept a provider from doing what was asked. */
export type ProviderErrorKind =
  /** A secret is missing, malformed or refused. */
  | 'credential'
  /** The provider refuses what the group is set to: repository, runner group, queue, permissions. */
  | 'settings'
  | 'rate-limited'
  /** No answer, a fault of the provider, or an answer that cannot be read. */
  | 'unavailable';

/** A provider refused a call, or could not be reached. The message holds no secret and no body of a request. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly kind: ProviderErrorKind;
  /** HTTP status of the provider's answer, if there was one. */
  readonly status: number | undefined;
  /** Seconds after which the provider accepts calls again, if it names them. */
  readonly afterSeconds: number | undefined;

  constructor(
    kind: ProviderErrorKind,
    message: string,
    options: ErrorOptions & { status?: number; afterSeconds?: number } = {},
  ) {
    super(message, options);
    this.kind = kind;
    this.status = options.status;
    this.afterSeconds = options.afterSeconds;
  }
}

/** A rate limit, from the headers of an answer. */
export type RateLimit = {
  /** The provider's name of the limit, such as `core`. */
  resource: string;
  limit: number;
  remaining: number;
  resetAt: Date;
};

/** A registration as its provider lists it. */
export type KnownRegistration = {
  /** The provider's identifier. */
  id: number;
  name: string;
  /** Whether its agent is connected. */
  online: boolean;
  /** The provider's view. It is wrong at times in both directions, so nothing is decided by it alone. */
  busy: boolean;
};

/** Registrations that the provider can remove. */
export interface RemovableRegistrations {
  /** The same for all groups whose registrations are in one list. */
  scope: string;
  /** Ends the assignment of jobs. `gone`: there is no such registration. `refused`: the provider cannot do it. */
  stopAssignment(id: number): Promise<'stopped' | 'gone' | 'refused'>;
  /** Removes a registration that runs no job. A registration that is already gone is `removed`. */
  remove(id: number): Promise<'removed' | 'busy'>;
  find(name: string): Promise<KnownRegistration | undefined>;
  /** All registrations, over every page. */
  list(): AsyncIterable<KnownRegistration>;
}

/** What a registration is issued for. */
export type IssueRequest = {
  /** `<instance id>-<n>`. */
  name: string;
  /** Buildkite only: the body of the agent's own call. */
  agent?: Readonly<Record<string, unknown>>;
};

/** A new registration and the provider's identifier of it, if it has one; or the name is in use. */
export type IssueResult = { registration: Registration; id?: number } | 'name-taken';

/** The registrations of one runner group. All calls throw `ProviderError`. */
export interface RegistrationClient {
  /** The account at the provider that limits are counted for. Undefined: issuing makes no call that is limited. */
  installation: string | undefined;
  issue(request: IssueRequest): Promise<IssueResult>;
  /** Undefined: the provider offers no way to list or remove registrations with the credentials at hand. */
  removable: RemovableRegistrations | undefined;
}

/** The settings of a group of one provider. */
export type SettingsOf<Provider extends GroupSettings['provider']> = Extract<
  GroupSettings,
  { provider: Provider }
>;

/** Options of one use of a client. */
export type CallOptions = {
  /** Aborts calls that are in progress. */
  signal: AbortSignal;
  /** Gets the rate limit of each answer that names one. */
  onRateLimit?: (rate: RateLimit) => void;
};
