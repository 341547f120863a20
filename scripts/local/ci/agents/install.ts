import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The fake agents, each laid out as the real one is installed. */

export type FakeAgent = 'gha' | 'bk' | 'cci';

/** Versions that the behaviour was taken from. CircleCI's documentation is about 3; the rest of that one is ours. */
export const AGENT_VERSIONS: Readonly<Record<FakeAgent, string>> = {
  gha: '2.336.0',
  bk: '3.138.1',
  cci: '3.0.0',
};

/** The program of each, and the files that it consists of. */
const LAYOUT: Readonly<
  Record<FakeAgent, { folder: string; programs: Record<string, string>; files: string[] }>
> = {
  gha: {
    folder: 'bin',
    programs: { 'Runner.Listener': 'gha.mts', 'Runner.Worker': 'gha-worker.mts' },
    files: ['gha.mts', 'gha-worker.mts', 'process.mts'],
  },
  bk: { folder: '.', programs: { 'buildkite-agent': 'bk.mts' }, files: ['bk.mts', 'process.mts'] },
  cci: {
    folder: '.',
    programs: { 'circleci-runner': 'cci.mts' },
    files: ['cci.mts', 'cci-task.mts', 'process.mts'],
  },
};

/**
 * Installs a fake agent below `directory`. It needs nothing of this repository afterwards, only the Node that runs this and bash.
 *
 * @param version what the agent reports as its own
 * @returns path of its program: `bin/Runner.Listener`, `buildkite-agent` or `circleci-runner`
 */
export function installFakeAgent(
  agent: FakeAgent,
  directory: string,
  version = AGENT_VERSIONS[agent],
): string {
  const { folder, programs, files } = LAYOUT[agent];
  const target = join(directory, folder);
  mkdirSync(target, { recursive: true });
  for (const file of files) copyFileSync(join(import.meta.dirname, file), join(target, file));
  writeFileSync(join(target, `${agent}.version`), `${version}\n`);
  for (const [program, main] of Object.entries(programs)) {
    const path = join(target, program);
    // `exec -a` gives the process the command line that the real program has.
    writeFileSync(
      path,
      `#!/bin/bash\nhere=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)\nexec -a "$0" '${process.execPath}' --no-warnings "$here/${main}" "$@"\n`,
    );
    chmodSync(path, 0o755);
  }
  return join(target, Object.keys(programs)[0] ?? '');
}

/** A fake agent as the archive (tar, gzip) that an instance installs. Each call makes other bytes: times of files are part of it. */
export function packFakeAgent(agent: FakeAgent, version = AGENT_VERSIONS[agent]): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-agent-'));
  try {
    chmodSync(directory, 0o755);
    installFakeAgent(agent, directory, version);
    return execFileSync('tar', ['-czf', '-', '-C', directory, '.']);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
