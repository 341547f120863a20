/** Lifetime of a metadata token, and the time before its expiry when a new one is fetched; in seconds. */
const TOKEN_SECONDS = 21_600;
const RENEW_SECONDS = 60;

/** Longest time of one request, in milliseconds. The service is local to the instance. */
const TIMEOUT_MS = 2_000;

/** Time between a Spot interruption notice and the interruption, in milliseconds (EC2 User Guide, "Spot Instance interruption notices"). */
const NOTICE_MS = 120_000;

/** The instance metadata service (IMDSv2), the only reliable source of a pending termination. */
export interface Metadata {
  instanceId(): Promise<string>;
  /** Target lifecycle state of the instance; undefined if it is in no Auto Scaling group. */
  targetLifecycleState(): Promise<string | undefined>;
  /** The time at which EC2 takes the instance away, if there is a Spot interruption notice; milliseconds since 1970. */
  reclaimedAt(): Promise<number | null>;
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
    async reclaimedAt() {
      const notice = await item('spot/instance-action');
      if (notice === undefined) return null;
      // `{"action": "terminate", "time": "2026-11-25T10:00:00Z"}` (EC2 User Guide, "Spot Instance interruption notices").
      const time = /"time"\s*:\s*"([^"]+)"/.exec(notice)?.[1];
      const at = Date.parse(time ?? '');
      return Number.isNaN(at) ? now() + NOTICE_MS : at;
    },
  };
}
