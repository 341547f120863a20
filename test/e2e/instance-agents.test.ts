import { mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { installFakeAgent } from '../../scripts/local/ci/agents/install.ts';
import { type Github, startGithub } from '../../scripts/local/ci/github/server.ts';
import type { RegistrationAnswer } from '../../shared/fleet/registration.ts';
import { type Container, container, whyNoContainer } from '../support/container.ts';
import { type InstanceServices, startInstanceServices } from '../support/instance-services.ts';
import { whyMissing } from '../support/packages.ts';
import { runnerConfig } from '../support/runner-config.ts';

const reason =
  (await whyMissing({
    'systemd-nspawn': 'systemd-container',
    '/sbin/init': 'systemd-sysv',
    nsenter: 'util-linux',
    pgrep: 'procps',
  })) ?? whyNoContainer();
if (reason) console.warn(`the test of agents on an instance is skipped: ${reason}`);

const INSTANCE = 'i-0123456789abcdef0';
const NODE = '/usr/local/lib/aw-runner/node';
/** The limit ends what hangs. */
const soon = { timeout: 200_000, interval: 200 };
const ROOT = resolve(import.meta.dirname, '../..');
const program = resolve(import.meta.dirname, '../../infra/runner/src/main.ts');

describe.skipIf(reason !== undefined)('aw-runner with systemd and an agent', () => {
  let folder: string;
  let github: Github;
  let services: InstanceServices;
  let registration: Server;
  let refusal: 'not-in-service' | undefined;
  let instance: Container;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hearth-instance-agents-'));
    github = await startGithub({ tokens: ['t'], behaviour: { assignmentLagSeconds: 0, pollSeconds: 5 } });
    services = await startInstanceServices(INSTANCE);
    services.setTarget('InService');
    refusal = 'not-in-service';
    registration = await startRegistration();
    mkdirSync(join(folder, 'agent'));
    installFakeAgent('gha', join(folder, 'agent'));
    instance = container(folder, {
      [NODE]: process.execPath,
      '/opt/fake-agent': join(folder, 'agent'),
      // A container has a `/tmp` of its own, and the repository can be there.
      ...(ROOT.startsWith('/tmp/') && { [ROOT]: ROOT }),
    });
    const { port } = registration.address() as AddressInfo;
    instance.write(
      '/etc/aw-runner/config.json',
      runnerConfig('/var/lib/aw-runner-test', {
        reportsUrl: `${services.url}/aw-reports`,
        metadataEndpoint: services.url,
        registrationUrl: `http://127.0.0.1:${port}/`,
        // The disk of the container has no clones. `agent-units.test.ts` tries the root of a job in a container.
        jobs: { isolation: 'shared' },
        jobSocket: '/run/aw-runner/job/socket',
        pollSeconds: 1,
      }),
      0o600,
    );
    instance.write(
      '/etc/systemd/system/aw-runner.service',
      [
        '[Service]',
        'ExecStartPre=/bin/sh -c "mkdir -p /opt/hearth/agents; test -e /opt/hearth/agents/gha || cp -r /opt/fake-agent /opt/hearth/agents/gha"',
        `ExecStart=${NODE} --no-warnings ${program} run`,
        'StandardOutput=append:/var/log/aw-runner.log',
        'StandardError=append:/var/log/aw-runner.log',
        `Environment=AWS_ENDPOINT_URL_SQS=${services.url} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test`,
        'Restart=always',
        'RestartSec=1',
        'KillMode=mixed',
        '[Install]',
        'WantedBy=multi-user.target',
        '',
      ].join('\n'),
    );
    instance.boot();
    for (const end = performance.now() + soon.timeout; ; await sleep(200)) {
      if (started()) break;
      if (performance.now() > end) throw new Error('systemd of the container does not start');
    }
  });

  /** Starts aw-runner as soon as systemd runs. */
  function started(): boolean {
    try {
      return instance.run('systemctl', 'start', '--no-block', 'aw-runner').status === 0;
    } catch {
      return false;
    }
  }
  afterEach(async () => {
    await instance.end();
    registration.close();
    await Promise.all([github.close(), services.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  /** The function `registration` with a plain token. */
  async function startRegistration(): Promise<Server> {
    let n = 0;
    const call = (method: string, path: string, body?: object) =>
      fetch(new URL(`/repos/acme/monorepo/actions/runners${path}`, github.url), {
        method,
        headers: { authorization: 'Bearer t' },
        ...(body && { body: JSON.stringify(body) }),
      });
    async function answer(request: { action: string; name?: string }): Promise<RegistrationAnswer> {
      if (request.action === 'release') {
        const found = github.registrations().find(({ name }) => name === request.name);
        if (found) await call('DELETE', `/${found.id}`);
        return { outcome: 'released', result: 'removed' };
      }
      if (refusal) return { outcome: 'refused', reason: refusal, retryAfterSeconds: 2 };
      const name = `${INSTANCE}-${++n}`;
      const response = await call('POST', '/generate-jitconfig', { name, runner_group_id: 1, labels: ['x'] });
      const { encoded_jit_config: jitConfig } = (await response.json()) as { encoded_jit_config: string };
      return { outcome: 'registered', registration: { provider: 'gha', name, jitConfig } };
    }
    const server = createServer(async (request, response) => {
      // aw-runner can be killed in the middle of a request.
      const body = await text(request).catch(() => undefined);
      if (body !== undefined) response.end(JSON.stringify(await answer(JSON.parse(body))));
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return server;
  }

  const log = () => instance.read('/var/log/aw-runner.log');
  const shell = (script: string) => instance.run('sh', '-c', script).stdout.trim();
  const reported = (report: string) => services.reports.filter((each) => each.report === report);

  test('Ready, then an agent as its own user; a job outlives aw-runner, and a drain ends after it', async () => {
    await expect.poll(() => reported('Runner Ready').length, soon).toBeGreaterThan(0);
    // The launch hook waits: no agent, and none registered.
    expect(shell('systemctl list-units --all --no-legend "hearth-agent-*"')).toBe('');
    expect(github.registrations()).toEqual([]);
    const job = github.queueJob({
      command:
        'id -un; echo "secrets: $(env | grep -c JITCONFIG)"; echo x >>../../../runner/bin/gha.version || echo "cannot write"; ' +
        `touch /opt/hearth/agents/gha/x || echo "cannot create"; cat /var/lib/aw-runner-test/state/agents.json || echo "state hidden or plain"; ` +
        'echo begun; until [ -e /var/tmp/hearth-go ]; do sleep 0.2; done; echo over',
      labels: ['x'],
      name: 'build',
    });
    refusal = undefined;
    await expect.poll(() => job.log, soon).toContain('begun');
    expect(job.log).toContain('runner\n');
    expect(job.log).toContain('secrets: 0');
    expect(job.log).toContain('cannot write');
    expect(job.log).toContain('cannot create');
    expect(shell('systemctl show -P User "hearth-agent-gha-*"')).toBe('runner');

    // The program alone is killed; systemd starts it again.
    shell('systemctl kill --signal=KILL --kill-whom=main aw-runner');
    await expect.poll(() => log().split(`run on ${INSTANCE}`).length - 1, soon).toBe(2);
    services.setTarget('Terminated');
    await expect.poll(log, soon).toContain('draining: the instance is terminated');
    expect(job.state).toBe('running');
    shell('touch /var/tmp/hearth-go');
    await expect.poll(() => job.state, soon).toBe('finished');
    expect(job).toMatchObject({ result: 'succeeded', starts: 1 });
    expect(job.log).toContain('over');
    await expect.poll(() => reported('Runner Drained').length, soon).toBeGreaterThan(0);
    expect(github.registrations()).toEqual([]);
    // systemd unloads a unit some time after its end.
    await expect.poll(() => shell('systemctl list-units --all --no-legend "hearth-agent-*"'), soon).toBe('');
    expect(reported('Runner Failed')).toEqual([]);
    expect(reported('Runner Unhealthy')).toEqual([]);
  });

  test('a job reports through the socket that its instance is unhealthy, without any right', async () => {
    refusal = undefined;
    const job = github.queueJob({
      command: `'${NODE}' --no-warnings ${program} job-finished --exit-code 37; ls -l /run/aw-runner/job/socket`,
      labels: ['x'],
      name: 'build',
    });
    await expect.poll(() => job.state, soon).toBe('finished');
    expect(job.log).toContain('unhealthy: Bazel exit 37');
    await expect.poll(() => reported('Runner Unhealthy').length, soon).toBe(1);
    // Another user cannot connect.
    const other = instance.run(
      ...['setpriv', '--reuid=nobody', '--clear-groups', NODE, '--no-warnings', program],
      ...['job-finished', '--exit-code', '36'],
    );
    expect(other.stderr).toContain('EACCES');
  });
});
