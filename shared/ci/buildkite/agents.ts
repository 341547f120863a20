import * as v from 'valibot';
import type { Clock } from '../../runtime/clock.ts';
import { PermanentError } from '../../runtime/errors.ts';
import type { Secrets } from '../credential.ts';
import {
  type CallOptions,
  type IssueRequest,
  ProviderError,
  type RegistrationClient,
  type SettingsOf,
} from '../provider.ts';
import { callProvider, type ProviderAnswer } from '../request.ts';
import { withAgentToken } from './token.ts';

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
    const answer = await withAgentToken(secrets, tokenSecret, (token) => register(body, token));
    return answerOf(answer, name);
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
