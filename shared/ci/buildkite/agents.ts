import * as v from 'valibot';
import type { Clock } from '../../runtime/clock.ts';
import { PermanentError } from '../../runtime/errors.ts';
import { readSecret, type Secrets, unusableSecret } from '../credential.ts';
import {
  type CallOptions,
  type IssueRequest,
  ProviderError,
  type RegistrationClient,
  type SettingsOf,
} from '../provider.ts';
import { callProvider, type ProviderAnswer } from '../request.ts';

/** The part of an agent's own `register` body that is checked. The other fields describe the agent, and pass as they are. */
const agentSchema = v.looseObject({ meta_data: v.array(v.string()) });

/** The answer to `register`. The session token is for this one agent. */
const answerSchema = v.looseObject({
  access_token: v.pipe(v.string(), v.nonEmpty()),
  endpoint: v.nullish(v.string()),
});

/**
 * Registers agents of Buildkite by the calls that the agents themselves would make: the agent token, which is good for every queue
 * of its cluster, stays with the function, and the agent gets a session token.
 */
export function buildkiteAgents(
  settings: SettingsOf<'bk'>,
  shared: { secrets: Secrets; clock: Clock },
  options: CallOptions,
): RegistrationClient {
  const { secrets, clock } = shared;
  const { tokenSecret, queue } = settings;
  const apiUrl = settings.apiUrl.replace(/\/+$/, '');

  async function issue({ name, agent }: IssueRequest) {
    const body = { ...agentOf(agent, queue), name };
    const token = await agentToken();
    try {
      return answerOf(await register(body, token), name);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
    }
    // The token may have been rotated since it was read.
    secrets(tokenSecret).refresh();
    try {
      return answerOf(await register(body, await agentToken()), name);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
      throw unusableSecret(secrets, tokenSecret, `is refused: ${error.message}`, { cause: error });
    }
  }

  async function agentToken(): Promise<string> {
    const token = await readSecret(secrets, tokenSecret);
    if (token === undefined) throw unusableSecret(secrets, tokenSecret, 'has no Buildkite agent token yet');
    // A header would refuse it, with an error that quotes it.
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw unusableSecret(secrets, tokenSecret, 'is not a token: it has spaces or other characters');
    }
    return token;
  }

  function register(body: object, token: string) {
    const headers = { authorization: `Token ${token}` };
    const url = `${apiUrl}/register`;
    return callProvider({ provider: 'Buildkite', method: 'POST', url, headers, body }, { ...options, clock });
  }

  function answerOf({ body }: ProviderAnswer, name: string) {
    const parsed = v.safeParse(answerSchema, body);
    if (!parsed.success)
      throw new ProviderError('unavailable', "Buildkite's answer to register has no access_token");
    const endpoint = parsed.output.endpoint || apiUrl;
    return { registration: { provider: 'bk' as const, name, answer: { ...parsed.output, endpoint } } };
  }

  // Only an agent itself can end its session, and Buildkite lists agents to users of its REST API only.
  return { installation: undefined, issue, removable: undefined };
}

function isUnauthorized(error: unknown): error is ProviderError {
  return error instanceof ProviderError && error.status === 401;
}

/** @throws {PermanentError} if the body is missing, or is for another queue than the group's */
function agentOf(agent: IssueRequest['agent'], queue: string): Record<string, unknown> {
  const parsed = v.safeParse(agentSchema, agent);
  if (!parsed.success) throw new PermanentError('malformed-agent', 'agent.meta_data is not a list of texts');
  const queues = parsed.output.meta_data.filter((tag) => /^queue=/i.test(tag));
  if (queues.length !== 1 || queues[0] !== `queue=${queue}`) {
    throw new PermanentError(
      'foreign-queue',
      `the agent must have exactly the tag queue=${queue} of its group`,
    );
  }
  return parsed.output;
}
