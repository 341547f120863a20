import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';

/** GitHub's REST API in memory, as far as registrations need it. It is the `fetch` of a test. */

const API = 'https://api.github.test';

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

/** A private key as GitHub hands it out: PKCS#1. */
export const PEM = String(privateKey.export({ type: 'pkcs1', format: 'pem' }));
const publicKey = createPublicKey(privateKey);

export type FakeRunner = {
  /** `repos/acme/monorepo` or `orgs/acme`. */
  scope: string;
  id: number;
  name: string;
  status: 'online' | 'offline';
  busy: boolean;
  labels: string[];
  runner_group_id: number;
};

/** One call: `POST /path`, with its query. */
export type FakeCall = { call: string; authorization: string; body: unknown };

type Answer = { status: number; body?: unknown; headers?: Record<string, string> };

export class FakeGithub {
  readonly url = API;
  runners: FakeRunner[] = [];
  readonly calls: FakeCall[] = [];
  /** Runner groups of the organization. */
  groups = [
    { id: 1, name: 'Default', default: true },
    { id: 7, name: 'trusted', default: false },
  ];
  /** Plain tokens that are accepted, besides those of installations. */
  readonly plainTokens = new Set(['plain-token']);
  appIds = new Set(['12', '13']);
  /** Answers that a test sets, by the beginning of `METHOD /path`; the first that fits is used, once if `once`. */
  readonly answers: { call: string; answer: Answer | Error; once: boolean }[] = [];
  /** Calls that are made as usual, and whose answer is lost. */
  readonly lost = new Set<string>();
  pageSize = 100;
  private nextId = 1;
  private readonly installationTokens = new Map<string, object>();

  private readonly now: () => Date;

  constructor(now: () => Date) {
    this.now = now;
  }

  answer(call: string, answer: Answer | Error, once = false): void {
    this.answers.unshift({ call, answer, once });
  }

  add(name: string, change: Partial<FakeRunner> = {}): FakeRunner {
    const runner: FakeRunner = {
      scope: 'repos/acme/monorepo',
      id: this.nextId,
      name,
      status: 'offline',
      busy: false,
      labels: ['hearth'],
      runner_group_id: 1,
      ...change,
    };
    this.nextId += 1;
    this.runners.push(runner);
    return runner;
  }

  named(name: string): FakeRunner | undefined {
    return this.runners.find((runner) => runner.name === name);
  }

  /** `METHOD /path` of the calls, without tokens and queries. */
  callNames(): string[] {
    return this.calls.map(({ call }) => call.replace(/\?.*/, ''));
  }

  revokeTokens(): void {
    this.installationTokens.clear();
    this.plainTokens.clear();
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const url = new URL(String(input));
    init?.signal?.throwIfAborted();
    const call = `${init?.method} ${url.pathname}${url.search}`;
    const authorization = new Headers(init?.headers).get('authorization') ?? '';
    const body: unknown = init?.body === undefined ? undefined : JSON.parse(String(init.body));
    this.calls.push({ call, authorization, body });
    const set = this.answers.findIndex((one) => call.startsWith(one.call));
    const canned = this.answers[set];
    if (canned?.once) this.answers.splice(set, 1);
    if (canned?.answer instanceof Error) throw canned.answer;
    const answer = canned?.answer ?? this.handle(init?.method ?? 'GET', url, authorization, body);
    if ([...this.lost].some((one) => call.startsWith(one))) throw new TypeError('fetch failed');
    const { status, headers = {} } = answer;
    return new Response(answer.body === undefined ? null : JSON.stringify(answer.body), { status, headers });
  };

  private handle(method: string, url: URL, authorization: string, body: unknown): Answer {
    const path = url.pathname;
    const scope = path.slice(1).replace(/\/actions\/.*/, '');
    const refused = this.unauthorized(path, authorization);
    if (refused) return refused;
    if (/\/installation$/.test(path)) return { status: 200, body: { id: 99 } };
    if (/\/access_tokens$/.test(path)) return this.createToken(body);
    if (/\/runner-groups$/.test(path)) return { status: 200, body: { runner_groups: this.groups } };
    if (/\/generate-jitconfig$/.test(path)) return this.generate({ ...(body as FakeRunner), scope });
    const [, id, rest] = /\/runners(?:\/(\d+))?(\/labels)?$/.exec(path) ?? [];
    if (id === undefined) return this.list(url, scope);
    const runner = this.runners.find((one) => one.id === Number(id) && one.scope === scope);
    if (!runner) return { status: 404, body: { message: 'Not Found' } };
    if (rest) {
      runner.labels = (body as FakeRunner).labels;
      return { status: 200, body: { total_count: 0, labels: [] } };
    }
    if (method === 'GET') return { status: 200, body: runner };
    if (runner.busy) return { status: 422, body: { message: 'Runner is currently running a job' } };
    this.runners = this.runners.filter((one) => one !== runner);
    return { status: 204 };
  }

  private unauthorized(path: string, authorization: string): Answer | undefined {
    const bad = { status: 401, body: { message: 'Bad credentials' } };
    const token = authorization.replace(/^Bearer /, '');
    if (/\/(installation|access_tokens)$/.test(path)) return this.isAppJwt(token) ? undefined : bad;
    return this.installationTokens.has(token) || this.plainTokens.has(token) ? undefined : bad;
  }

  private isAppJwt(token: string): boolean {
    const [head = '', payload = '', signature = ''] = token.split('.');
    const signed = verify(
      'RSA-SHA256',
      Buffer.from(`${head}.${payload}`),
      publicKey,
      Buffer.from(signature, 'base64url'),
    );
    const { iss, iat, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const now = this.now().getTime() / 1000;
    return signed && this.appIds.has(String(iss)) && iat <= now && exp > now && exp - iat <= 600;
  }

  private createToken(body: unknown): Answer {
    const token = `installation-token-${this.installationTokens.size + 1}`;
    this.installationTokens.set(token, body as object);
    const expires = new Date(this.now().getTime() + 3_600_000).toISOString();
    return { status: 201, body: { token, expires_at: expires, permissions: {} } };
  }

  private generate({ name, labels, scope, runner_group_id: group }: FakeRunner): Answer {
    if (group === undefined) return { status: 422, body: { message: 'runner_group_id is missing' } };
    if (this.named(name)) return { status: 409, body: { message: 'Already exists' } };
    const runner = this.add(name, { labels, scope, runner_group_id: group });
    return { status: 201, body: { runner, encoded_jit_config: `jit of ${name}` } };
  }

  private list(url: URL, scope: string): Answer {
    const page = Number(url.searchParams.get('page') ?? 1);
    const name = url.searchParams.get('name');
    const found = this.runners.filter(
      (runner) => runner.scope === scope && (name === null || runner.name.startsWith(name)),
    );
    const runners = found.slice((page - 1) * this.pageSize, page * this.pageSize);
    const more = found.length > page * this.pageSize;
    return {
      status: 200,
      body: { total_count: found.length, runners },
      ...(more && { headers: { link: `<${url.href}>; rel="next"` } }),
    };
  }
}
