/**
 * What the gateway and the emulated services agree on. The gateway authenticates nobody: it only reads the region,
 * the service and the access key out of the signature, names the operation, and hands the call over whole.
 */
export type ServiceRequest = {
  method: string;
  /** Without the query. */
  path: string;
  query: URLSearchParams;
  /** By lower-case name; values of repeated headers joined with `, `. */
  headers: Readonly<Record<string, string>>;
  body: Buffer;
  /** Who signed the call, if it was signed. */
  accessKeyId?: string;
  region: string;
  /** The service's name in signatures: `autoscaling`, `monitoring`, `ssm`. */
  service: string;
  /** `CompleteLifecycleAction`, from `Action=` of the query protocol or from `X-Amz-Target`. */
  operation: string;
};

export type ServiceResponse = {
  status: number;
  headers: Record<string, string>;
  body: Buffer | string;
};

/** One AWS service that runs inside the gateway. */
export interface EmulatedService {
  /** The service's name in signatures. */
  readonly name: string;
  /** Whether it serves `operation`; what it does not may go to the emulator behind the gateway. */
  serves(operation: string): boolean;
  /** Answers every call, also a wrong one: errors are answers in the service's own wording. */
  handle(request: ServiceRequest): Promise<ServiceResponse>;
}

/** An event as a service puts it on the default bus; the gateway adds the envelope's id, account and region. */
export type OutgoingEvent = {
  source: string;
  detailType: string;
  detail: Record<string, unknown>;
  resources: readonly string[];
  /** Now, if absent. */
  time?: Date;
  /** Another event bus than the default one. */
  bus?: string;
};

export type PublishEvent = (event: OutgoingEvent) => Promise<void>;

/** The account and region that ARNs and events name. */
export type Home = { account: string; region: string };

/** An error that a fault hook asks for instead of an answer. */
export type InjectedFault = { status: number; code: string; message: string };
