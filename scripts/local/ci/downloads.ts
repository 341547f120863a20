import { createHash } from 'node:crypto';
import { AGENT_VERSIONS, type FakeAgent, packFakeAgent } from './agents/install.ts';
import type { Answer, Incoming } from './http.ts';

const PREFIX = '/downloads/';

/** The archives of a stand-in's fake agent: `/downloads/<version>/<any name>.tar.gz`. Each version is packed once. */
export type Downloads = {
  /** Undefined for another path. */
  handle(request: Incoming): Answer | undefined;
  /** Path and checksum of the archive of a version. */
  of(version?: string): { path: string; sha256: string };
};

export function downloadsOf(agent: FakeAgent): Downloads {
  const packed = new Map<string, { archive: Buffer; sha256: string }>();

  function archiveOf(version: string) {
    let found = packed.get(version);
    if (!found) {
      const archive = packFakeAgent(agent, version);
      found = { archive, sha256: createHash('sha256').update(archive).digest('hex') };
      packed.set(version, found);
    }
    return found;
  }

  return {
    handle({ method, path }) {
      const [, version] = /^\/downloads\/v?(\d+\.\d+\.\d+)\/[^/]+\.tar\.gz$/.exec(path) ?? [];
      if (version === undefined || method !== 'GET') return undefined;
      const { archive } = archiveOf(version);
      return { status: 200, body: archive, headers: { 'content-type': 'application/gzip' } };
    },
    of: (version = AGENT_VERSIONS[agent]) => ({
      path: `${PREFIX}v${version}/agent.tar.gz`,
      sha256: archiveOf(version).sha256,
    }),
  };
}
