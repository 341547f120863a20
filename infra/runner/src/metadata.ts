/** Lifetime of a metadata token, and the time before its expiry when a new one is fetched; in seconds. */
const TOKEN_SECONDS = 21_600;
const RENEW_SECONDS = 60;

/** Longest time of one request, in milliseconds. The service is local to the instance. */
const TIMEOUT_MS = 2_000;

/** The instance metadata service (IMDSv2), the only reliable source of a pending termination. */
export interface Metadata {
  instanceId(): Promise<string>;
  /** Target lifecycle state of the instance; undefined if it is in no Auto Scaling group. */
  targetLifecycleState(): Promise<string | undefined>;
  /** Whether there is a Spot interruption notice. */
  isReclaimed(): Promise<boolean>;
}

/** @param endpoint `http://169.254.169.254` on EC2 */
export function instanceMetadata(endpoint: string, now: () => number = Date.now): Metadata {
  let token: { text: string; until: number } | undefined;

  async function fetchToken(): Promise<string> {
    if (token && token.until > now()) return token.text;
    const response = await fetch(`${endpoint}/latest/api/token`, {
      method: 'PUT',
      headers: { 'x-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_SECONDS) },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) throw new Error(`the metadata service gave no token: ${response.status}`);
    token = { text: await response.text(), until: now() + (TOKEN_SECONDS - RENEW_SECONDS) * 1000 };
    return token.text;
  }

  async function item(path: string, again = true): Promise<string | undefined> {
    const response = await fetch(`${endpoint}/latest/meta-data/${path}`, {
      headers: { 'x-aws-ec2-metadata-token': await fetchToken() },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.status === 404) return undefined;
    if (response.status === 401 && again) {
      token = undefined;
      return item(path, false);
    }
    if (!response.ok) throw new Error(`the metadata service answered ${response.status} for ${path}`);
    return (await response.text()).trim();
  }

  return {
    async instanceId() {
      const id = await item('instance-id');
      if (!id) throw new Error(`the metadata service at ${endpoint} returned no instance id`);
      return id;
    },
    targetLifecycleState: () => item('autoscaling/target-lifecycle-state'),
    isReclaimed: async () => (await item('spot/instance-action')) !== undefined,
  };
}
