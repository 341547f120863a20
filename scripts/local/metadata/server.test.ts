import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InstanceFacts } from './facts.ts';
import { type MetadataServer, startMetadataServer } from './server.ts';

const ID = 'i-0a1b2c3d4e5f60718';
const OTHER = 'i-0a1b2c3d4e5f60719';

let now: number;
let instances: Map<string, InstanceFacts>;
let server: MetadataServer;

function facts(id: string): InstanceFacts {
  return {
    id,
    region: 'us-west-2',
    account: '210987654321',
    zone: 'us-west-2b',
    instanceType: 'c5ad.xlarge',
    purchase: 'spot',
    launchedAt: new Date('2026-05-14T16:20:00Z'),
    targetLifecycleState: 'InService',
    reclaimAt: undefined,
    rebalanceNoticedAt: undefined,
  };
}

beforeEach(async () => {
  now = 0;
  instances = new Map([ID, OTHER].map((id) => [id, facts(id)]));
  server = await startMetadataServer(
    (id) => instances.get(id),
    () => now,
  );
});

afterEach(() => server.close());

const put = (headers: Record<string, string>, id = ID) =>
  fetch(`${server.endpointOf(id)}/latest/api/token`, { method: 'PUT', headers });

async function token(seconds = 60, id = ID): Promise<string> {
  return (await put({ 'X-aws-ec2-metadata-token-ttl-seconds': String(seconds) }, id)).text();
}

const get = (path: string, session?: string, id = ID) =>
  fetch(`${server.endpointOf(id)}/latest/${path}`, {
    headers: session === undefined ? {} : { 'X-aws-ec2-metadata-token': session },
  });

describe('startMetadataServer', () => {
  it('gives nothing without a session token of this very instance', async () => {
    expect((await get('meta-data/instance-id')).status).toBe(401);
    expect((await get('meta-data/instance-id', 'guess')).status).toBe(401);
    expect((await get('meta-data/instance-id', await token(60, OTHER))).status).toBe(401);
    const session = await token(60);
    expect(await (await get('meta-data/instance-id', session)).text()).toBe(ID);
    now = 60_000;
    expect((await get('meta-data/instance-id', session)).status).toBe(401);
  });

  it('requires a lifetime between a second and six hours, and no proxy', async () => {
    const status = async (headers: Record<string, string>) => (await put(headers)).status;
    const ttl = 'X-aws-ec2-metadata-token-ttl-seconds';
    expect(await status({})).toBe(400);
    expect(await status({ [ttl]: '0' })).toBe(400);
    expect(await status({ [ttl]: '21601' })).toBe(400);
    expect(await status({ [ttl]: '1e3' })).toBe(400);
    expect(await status({ [ttl]: '21600', 'X-Forwarded-For': '10.0.0.1' })).toBe(403);
    expect(await status({ [ttl]: '21600' })).toBe(200);
    const response = await fetch(`${server.endpointOf(ID)}/latest/api/token`);
    expect(response.status).toBe(405);
  });

  it('shows notices of Auto Scaling and EC2 once they exist', async () => {
    const session = await token();
    const state = 'meta-data/autoscaling/target-lifecycle-state';
    const spot = 'meta-data/spot/instance-action';
    const rebalance = 'meta-data/events/recommendations/rebalance';
    expect(await (await get(state, session)).text()).toBe('InService');
    expect((await get(spot, session)).status).toBe(404);
    expect((await get(rebalance, session)).status).toBe(404);
    instances.set(ID, {
      ...facts(ID),
      targetLifecycleState: 'Terminated',
      reclaimAt: new Date('2026-05-14T17:00:00.250Z'),
      rebalanceNoticedAt: new Date('2026-05-14T16:50:00Z'),
    });
    expect(await (await get(state, session)).text()).toBe('Terminated');
    expect(await (await get(spot, session)).json()).toEqual({
      action: 'terminate',
      time: '2026-05-14T17:00:00Z',
    });
    expect(await (await get(rebalance, session)).json()).toEqual({ noticeTime: '2026-05-14T16:50:00Z' });
    instances.set(ID, { ...facts(ID), targetLifecycleState: undefined });
    expect((await get(state, session)).status).toBe(404);
  });

  it('describes the instance', async () => {
    const session = await token();
    const text = async (path: string) => (await get(path, session)).text();
    expect(await text('meta-data/placement/availability-zone')).toBe('us-west-2b');
    expect(await text('meta-data/placement/region')).toBe('us-west-2');
    expect(await text('meta-data/instance-life-cycle')).toBe('spot');
    expect(await text('meta-data/placement/')).toBe('availability-zone\nregion');
    expect(JSON.parse(await text('dynamic/instance-identity/document'))).toMatchObject({
      instanceId: ID,
      region: 'us-west-2',
      accountId: '210987654321',
    });
    expect((await get('meta-data/iam/', session)).status).toBe(404);
    expect((await get('meta-data/toString', session)).status).toBe(404);
  });

  it('answers only while the instance exists', async () => {
    const session = await token();
    instances.delete(ID);
    expect((await get('meta-data/instance-id', session)).status).toBe(404);
    instances.set(ID, facts(ID));
    expect((await get('meta-data/instance-id', session)).status).toBe(401);
    expect((await fetch(server.endpointOf('..%2f'))).status).toBe(404);
  });
});
