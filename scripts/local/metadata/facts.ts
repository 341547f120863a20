/** What one instance can learn about itself. */
export type InstanceFacts = {
  id: string;
  region: string;
  account: string;
  zone: string;
  instanceType: string;
  purchase: 'spot' | 'on-demand';
  launchedAt: Date;
  /** The target of Auto Scaling; undefined without a group. */
  targetLifecycleState: 'InService' | 'Terminated' | undefined;
  /** When EC2 stops it, after an interruption notice. */
  reclaimAt: Date | undefined;
  rebalanceNoticedAt: Date | undefined;
};

/** Looks an instance up; undefined once it is gone. */
export type LookUp = (instanceId: string) => InstanceFacts | undefined;

type Item = (facts: InstanceFacts) => string | undefined;

/** Items below `latest/`, by path. An item without a value does not exist: 404, as on EC2. */
const ITEMS = new Map<string, Item>(
  Object.entries<Item>({
    'meta-data/instance-id': (facts) => facts.id,
    'meta-data/instance-type': (facts) => facts.instanceType,
    'meta-data/instance-life-cycle': (facts) => facts.purchase,
    'meta-data/placement/availability-zone': (facts) => facts.zone,
    'meta-data/placement/region': (facts) => facts.region,
    'meta-data/autoscaling/target-lifecycle-state': (facts) => facts.targetLifecycleState,
    'meta-data/spot/instance-action': (facts) =>
      facts.reclaimAt && JSON.stringify({ action: 'terminate', time: instant(facts.reclaimAt) }),
    'meta-data/spot/termination-time': (facts) => facts.reclaimAt && instant(facts.reclaimAt),
    'meta-data/events/recommendations/rebalance': (facts) =>
      facts.rebalanceNoticedAt && JSON.stringify({ noticeTime: instant(facts.rebalanceNoticedAt) }),
    'dynamic/instance-identity/document': (facts) => JSON.stringify(identityDocument(facts), undefined, 2),
  }),
);

/** The text of an item, or the names below a folder, or undefined if there is neither. */
export function readItem(facts: InstanceFacts, path: string): string | undefined {
  const name = path.replace(/\/$/, '');
  const item = ITEMS.get(name);
  if (item !== undefined) return path.endsWith('/') ? undefined : item(facts);
  return listing(facts, name);
}

function listing(facts: InstanceFacts, folder: string): string | undefined {
  const prefix = folder === '' ? '' : `${folder}/`;
  const names = new Set<string>();
  for (const [path, item] of ITEMS) {
    if (!path.startsWith(prefix) || item(facts) === undefined) continue;
    const [first = '', ...rest] = path.slice(prefix.length).split('/');
    names.add(rest.length > 0 ? `${first}/` : first);
  }
  return names.size === 0 ? undefined : [...names].sort().join('\n');
}

/** Without fractions of a second, as EC2 writes it. */
function instant(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

function identityDocument(facts: InstanceFacts) {
  return {
    accountId: facts.account,
    architecture: process.arch === 'arm64' ? 'arm64' : 'x86_64',
    availabilityZone: facts.zone,
    imageId: 'ami-00000000000000000',
    instanceId: facts.id,
    instanceType: facts.instanceType,
    pendingTime: instant(facts.launchedAt),
    privateIp: '127.0.0.1',
    region: facts.region,
    version: '2017-09-30',
  };
}
