/** Life of a metadata token, in seconds, and the time before its end when a new one is fetched. */
const TOKEN_SECONDS = 21_600;
const RENEW_SECONDS = 60;

/** The service is on the machine itself: what takes longer than this has gone wrong, in milliseconds. */
const TIMEOUT_MS = 2_000;

/** The instance's own metadata (IMDSv2), which alone tells it for certain that it has to go. */
export interface Metadata {
  instanceId(): Promise<string>;
  /** What Auto Scaling wants the instance to become; undefined if it is in no group. */
  targetLifecycleState(): Promise<string | undefined>;
  /** Whether Spot has announced to take the instance back. */
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
      if (!id) throw new Error(`the metadata service at ${endpoint} names no instance`);
      return id;
    },
    targetLifecycleState: () => item('autoscaling/target-lifecycle-state'),
    isReclaimed: async () => (await item('spot/instance-action')) !== undefined,
  };
}
