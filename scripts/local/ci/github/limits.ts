import { type Answer, Refused } from '../http.ts';
import type { GithubBehaviour } from './model.ts';

/** Rate limits per installation or token. A window starts with its first request. */

type Window = { used: number; endsAt: number };

export type Resource = 'core' | 'actions_runner_registration';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

export type Limits = ReturnType<typeof githubLimits>;

export function githubLimits(settings: () => GithubBehaviour) {
  const primary = new Map<string, Window>();
  const secondary = new Map<string, Window>();

  const limitOf = (resource: Resource) =>
    resource === 'core' ? settings().coreLimit : settings().registrationLimit;

  function windowOf(windows: Map<string, Window>, key: string, length: number): Window {
    let window = windows.get(key);
    if (!window || window.endsAt <= Date.now()) {
      window = { used: 0, endsAt: Date.now() + length };
      windows.set(key, window);
    }
    return window;
  }

  function headersOf(key: string, resource: Resource): Record<string, string> {
    const { used, endsAt } = windowOf(primary, `${key} ${resource}`, HOUR_MS);
    const limit = limitOf(resource);
    return {
      'x-ratelimit-limit': String(limit),
      'x-ratelimit-remaining': String(Math.max(0, limit - used)),
      'x-ratelimit-used': String(used),
      'x-ratelimit-reset': String(Math.ceil(endsAt / 1000)),
      'x-ratelimit-resource': resource,
    };
  }

  /** @throws {Refused} if a limit is exceeded. Such a request does not count. */
  function check(key: string, resource: Resource, endpoint: string, isRead: boolean): void {
    const { limitStatus, retryAfter, secondaryPoints } = settings();
    const points = windowOf(secondary, `${key} ${endpoint}`, MINUTE_MS);
    points.used += isRead ? 1 : 5;
    if (points.used > secondaryPoints) {
      const wait = Math.max(1, Math.ceil((points.endsAt - Date.now()) / 1000));
      throw new Refused(
        limitStatus,
        'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.',
        {
          headers: { ...headersOf(key, resource), ...(retryAfter && { 'retry-after': String(wait) }) },
        },
      );
    }
    if (windowOf(primary, `${key} ${resource}`, HOUR_MS).used >= limitOf(resource)) {
      throw new Refused(limitStatus, `API rate limit exceeded for ${key}.`, {
        headers: headersOf(key, resource),
      });
    }
  }

  /** Counts a request that was answered; one that was answered with 304 costs nothing. */
  function count(key: string, resource: Resource, answer: Answer): Answer {
    if (answer.status !== 304) windowOf(primary, `${key} ${resource}`, HOUR_MS).used += 1;
    return { ...answer, headers: { ...headersOf(key, resource), ...answer.headers } };
  }

  function overview(key: string) {
    const resource = (name: Resource) => {
      const { used, endsAt } = windowOf(primary, `${key} ${name}`, HOUR_MS);
      return {
        limit: limitOf(name),
        used,
        remaining: Math.max(0, limitOf(name) - used),
        reset: Math.ceil(endsAt / 1000),
      };
    };
    return {
      resources: {
        core: resource('core'),
        actions_runner_registration: resource('actions_runner_registration'),
      },
      rate: resource('core'),
    };
  }

  return { check, count, overview };
}
