import * as v from 'valibot';
import type { Clock } from '../../runtime/clock.ts';
import type { QueueCounts } from '../backlog.ts';
import { type Secrets, unusableSecret } from '../credential.ts';
import { type CallOptions, ProviderError, type SettingsOf } from '../provider.ts';
import { callProvider } from '../request.ts';
import { circleciApi } from './credentials.ts';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const unclaimedSchema = v.object({ unclaimed_task_count: count });
const runningSchema = v.object({ running_runner_tasks: count });

/**
 * The tasks of the resource class of a group, with two calls. A task is one job, or one of its parallel parts.
 *
 * @throws {ProviderError}
 */
export async function circleciTasks(
  settings: Pick<SettingsOf<'cci'>, 'apiUrl' | 'credentialsSecret'>,
  { secrets, clock }: { secrets: Secrets; clock: Clock },
  options: CallOptions,
): Promise<QueueCounts> {
  const { credentialsSecret } = settings;
  try {
    return await read();
  } catch (error) {
    if (!isUnauthorized(error)) throw error;
  }
  // The token may have been rotated since it was read.
  secrets(credentialsSecret).refresh();
  try {
    return await read();
  } catch (error) {
    if (!isUnauthorized(error)) throw error;
    throw unusableSecret(
      secrets,
      credentialsSecret,
      `has an access_token that is refused: ${error.message}`,
      {
        cause: error,
      },
    );
  }

  async function read(): Promise<QueueCounts> {
    const { resourceClass, accessToken } = await circleciApi(secrets, credentialsSecret);
    const tasks = `${settings.apiUrl.replace(/\/+$/, '')}/api/v3/runner/tasks`;
    const query = `resource-class=${encodeURIComponent(resourceClass)}`;
    const get = async <S extends v.GenericSchema>(url: string, schema: S): Promise<v.InferOutput<S>> => {
      const headers = { 'circle-token': accessToken };
      const { body } = await callProvider(
        { provider: 'CircleCI', method: 'GET', url, headers },
        { ...options, clock },
      );
      const parsed = v.safeParse(schema, body);
      if (parsed.success) return parsed.output;
      throw new ProviderError('unavailable', "CircleCI's number of tasks has another format");
    };
    // Queued tasks first: one that is claimed in between counts twice for one read, and never not at all.
    const unclaimed = await get(`${tasks}?${query}`, unclaimedSchema);
    const running = await get(`${tasks}/running?${query}`, runningSchema);
    return { queued: unclaimed.unclaimed_task_count, running: running.running_runner_tasks };
  }
}

function isUnauthorized(error: unknown): error is ProviderError {
  return error instanceof ProviderError && error.status === 401;
}
