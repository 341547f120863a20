import { handleMessage, retryForMs } from '../../../functions/registration/handle-message.ts';
import { handleRequest } from '../../../functions/registration/handle-request.ts';
import type { RegistrationDeps } from '../../../functions/registration/ports.ts';
import type { RegistrationResult } from '../../../infra/runner/src/agents/registration-client.ts';
import type { RegistrationAnswer, RegistrationRequest } from '../../../shared/fleet/registration.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import { PREFIX } from '../world.ts';
import type { Deployment } from './functions.ts';

export { retryForMs };

const ACCOUNT = '123456789012';

/** Reserved concurrency of the function (`functions/registration/function.json`). */
const CONCURRENCY = 10;

/** Requests of its queue and its schedules take two of them. */
const FOR_REQUESTS = CONCURRENCY - 2;

const signal = new AbortController().signal;

/** The function `registration` with its ten execution environments: requests beyond them are refused by Lambda. */
export function registrationFunction(
  deployment: Deployment,
  faults: { isUp(): boolean; answersLost: number; onIssue(instanceId: string): void },
) {
  const { ci, autoScaling, bucket, metrics, clock, random, kernel, world } = deployment;
  const poolNames = new Map(world.groups.map(({ settings, pool }) => [settings.role, pool]));

  function connect(): RegistrationDeps {
    const line = (text: string, fields?: object) =>
      deployment.log(`registration: ${text} ${JSON.stringify(fields)}`);
    return {
      prefix: PREFIX,
      account: ACCOUNT,
      groups: deployment.groups,
      providers: {
        open: async (settings, _key, options) => {
          const pool = ci.pools.get(poolNames.get(settings.role) ?? '');
          if (!pool) throw new Error('the simulated provider has no such pool');
          const id = settings.role.slice(PREFIX.length + 1).replace('-', '/');
          return ci.registrations(id, pool, options);
        },
      },
      autoScaling: {
        describeInstance: async (id) => autoScaling.describeInstance(id),
        listInstances: async () => autoScaling.listInstances(),
      },
      store: bucket,
      states: new Map(),
      turns: new Map(),
      lists: new Map(),
      metrics,
      logger: { warn: line, error: line },
      clock,
      random: random.next,
    };
  }

  let environments = Array.from({ length: CONCURRENCY }, connect);
  let active = 0;
  const facts = { requests: 0, refusedByLambda: 0, mostActive: 0 };

  /** One request, as the client of the instance sees it. */
  async function call(
    request: RegistrationRequest,
    instanceId: string,
    role: string,
  ): Promise<RegistrationResult> {
    await kernel.sleep(random.between(20, 80));
    if (!faults.isUp()) {
      await kernel.sleep(100);
      return { outcome: 'failed', reason: 'the function registration answered 502', isLost: true };
    }
    facts.requests += 1;
    if (active >= FOR_REQUESTS) {
      facts.refusedByLambda += 1;
      metrics.add('Throttles' as 'IncidentsSent', 1, {});
      return { outcome: 'failed', reason: 'the function registration answered 429', isLost: false };
    }
    active += 1;
    facts.mostActive = Math.max(facts.mostActive, active);
    const duration = random.lognormal(220, 0.5);
    await kernel.sleep(duration / 2);
    const answer = await serve(request, instanceId, role);
    await kernel.sleep(duration / 2);
    active -= 1;
    if (random.chance(faults.answersLost))
      return { outcome: 'failed', reason: 'the function registration cannot be reached', isLost: true };
    return answer;
  }

  async function serve(
    request: RegistrationRequest,
    instanceId: string,
    role: string,
  ): Promise<RegistrationResult> {
    const deps = environments[random.integer(0, FOR_REQUESTS - 1)] as RegistrationDeps;
    try {
      const { status, body } = await handleRequest(
        {
          ...{
            id: 'r',
            method: 'POST',
            path: '/',
            headers: {},
            body: Buffer.from(JSON.stringify(request)),
            signal,
          },
          caller: { account: ACCOUNT, arn: `arn:aws:sts::${ACCOUNT}:assumed-role/${role}/${instanceId}` },
        },
        deps,
      );
      const answer = body as RegistrationAnswer;
      if ('outcome' in answer) {
        if (answer.outcome === 'registered') faults.onIssue(instanceId);
        return answer;
      }
      return { outcome: 'failed', reason: `answered ${status}`, isLost: false };
    } catch (error) {
      return { outcome: 'failed', reason: `answered 503: ${error}`, isLost: true };
    }
  }

  return {
    call,
    handle: (message: Message) => handleMessage(message, environments[CONCURRENCY - 1] as RegistrationDeps),
    restart: () => {
      environments = Array.from({ length: CONCURRENCY }, connect);
    },
    facts,
  };
}
