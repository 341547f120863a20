import { parseArgs } from 'node:util';
import { S3Client } from '@aws-sdk/client-s3';
import { clientSettings } from '../../../../shared/runtime/client-settings.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { UnsupportedFormat } from '../../../../shared/snapshot/errors.ts';
import {
  parseSetKey,
  SNAPSHOT_ID,
  snapshotsPrefix,
  snapshotTime,
} from '../../../../shared/snapshot/layout.ts';
import { readManifest, readPointer } from '../../../../shared/snapshot/records.ts';
import { s3Store } from '../../../../shared/snapshot/store.ts';
import type { RunnerConfig } from '../config.ts';
import { runnerDirectories } from '../directories.ts';
import { usageText } from '../usage.ts';
import { diffSnapshot } from './diff.ts';
import { restoreSnapshot, saveSnapshot, terminalProgress } from './index.ts';
import { verifyContent } from './verify-content.ts';

export const SNAPSHOT_USAGE = `aw-runner snapshot save|restore|verify|list [--set NAME] [--id ID] [--path DIR]... [--json]
aw-runner snapshot diff ID [--json]

  save      sends the changes of the warm directory as a new snapshot of the set; no process may use the directory
  restore   makes the warm directory a clone of the set's current snapshot
  verify    reads all of a snapshot (the current one, or --id) in S3 and compares it with its index
  list      lists the set's snapshots, newest first
  diff      lists the files whose changes a snapshot has sent; its image must be on the disk

  --path    a directory beside the warm directory, in place of those of the configuration; repeat it for several. \`restore\` binds it
            to its place; \`save\` copies one that was not restored there`;

/** Flags of all subcommands. */
function parseFlags(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      set: { type: 'string' },
      id: { type: 'string' },
      path: { type: 'string', multiple: true },
      json: { type: 'boolean' },
    },
  });
}

/**
 * @param signal stops a save or a restore, which then leaves nothing half done
 * @returns the exit code: 0, 1 if the command failed, the snapshot is broken or nothing was restored, 2 for wrong usage
 */
export async function snapshotCommand(
  args: readonly string[],
  config: RunnerConfig,
  toolVersion: string,
  signal?: AbortSignal,
): Promise<number> {
  let flags: ReturnType<typeof parseFlags>;
  try {
    flags = parseFlags(args);
  } catch (error) {
    console.error(usageText(error, SNAPSHOT_USAGE));
    return 2;
  }
  try {
    return await runSubcommand(flags, config, toolVersion, signal);
  } catch (error) {
    console.error(`snapshot ${flags.positionals[0]} failed: ${oneLine(error)}`);
    return 1;
  }
}

function oneLine(error: unknown): string {
  return errorText(error).replaceAll(/\s*\n\s*/g, '; ');
}

async function runSubcommand(
  { positionals, values }: ReturnType<typeof parseFlags>,
  config: RunnerConfig,
  toolVersion: string,
  signal?: AbortSignal,
): Promise<number> {
  if (positionals[0] === 'diff') return printDiff(positionals[1], config, values.json ?? false);
  const set = values.set ?? config.warmingSet;
  const print = (text: string, value: unknown) => console.log(values.json ? JSON.stringify(value) : text);
  if (set === undefined) {
    console.error('no warming set: name one with --set, or in the configuration');
    return 2;
  }
  const s3 = new S3Client(clientSettings('daemon', config.region));
  const { bucket } = config;
  const directories = runnerDirectories(config, values.path);
  const store = s3Store(s3, bucket);
  switch (positionals[0]) {
    case 'save': {
      const saved = await saveSnapshot({
        s3,
        bucket,
        set,
        directories,
        toolVersion,
        adopt: values.path !== undefined,
        progress: terminalProgress(),
        ...(signal && { signal }),
      });
      const { manifest, ...rest } = saved;
      print(`${saved.id}: ${saved.kind}, ${saved.uploadedBytes} bytes sent`, {
        ...rest,
        totals: manifest.totals,
      });
      return 0;
    }
    case 'restore': {
      const warn = (line: string) => console.error(line);
      const restored = await restoreSnapshot({
        s3,
        bucket,
        set,
        directories,
        progress: terminalProgress(),
        ...(signal && { signal }),
        warn,
      });
      print(`${restored.outcome} ${restored.id ?? ''} in ${restored.seconds.toFixed(1)} s`, restored);
      return restored.outcome === 'cold' ? 1 : 0;
    }
    case 'verify': {
      const id = values.id ?? (await readPointer(store, set))?.pointer.current?.id;
      if (!id) {
        console.error(`set ${set} has no current snapshot; name one with --id`);
        return 1;
      }
      const problem = await verifyContent({ s3, bucket, set, id, ...(signal && { signal }) });
      const verdict = problem === undefined ? 'sound' : 'broken';
      print(`${id}: ${verdict}${problem === undefined ? '' : `, ${problem}`}`, {
        id,
        verdict,
        reason: problem,
      });
      return problem === undefined ? 0 : 1;
    }
    case 'list': {
      const current = (await readPointer(store, set))?.pointer.current?.id;
      const ids: string[] = [];
      for await (const { key } of store.list(snapshotsPrefix(set))) {
        const parsed = parseSetKey(key);
        if (parsed?.kind === 'manifest') ids.push(parsed.id);
      }
      for (const id of ids.sort().reverse()) {
        const totals = await totalsOf(store, set, id);
        const bytes = typeof totals === 'string' ? totals : `${totals?.storedBytes} bytes to restore`;
        const line = `${id}  ${snapshotTime(id).toISOString()}  ${bytes}`;
        const facts = typeof totals === 'string' ? { unsupported: totals } : totals;
        print(id === current ? `${line}  current` : line, { id, current: id === current, ...facts });
      }
      return 0;
    }
    default:
      console.error(SNAPSHOT_USAGE);
      return 2;
  }
}

async function printDiff(id: string | undefined, config: RunnerConfig, isJson: boolean): Promise<number> {
  if (id === undefined || !SNAPSHOT_ID.test(id)) {
    console.error(`diff needs the id of a snapshot\n\n${SNAPSHOT_USAGE}`);
    return 2;
  }
  const diff = await diffSnapshot(runnerDirectories(config), id);
  if (isJson) {
    console.log(JSON.stringify(diff));
    return 0;
  }
  const line = ({ path, bytes }: { path: string; bytes: number }) =>
    `${(bytes / 1e6).toFixed(1).padStart(10)} MB  ${path}`;
  const against = diff.parent === undefined ? 'the whole image' : `difference to ${diff.parent}`;
  console.log(`${id}: ${against}, ${diff.storedBytes} bytes sent, by directory:`);
  for (const each of diff.directories) console.log(line(each));
  console.log('files with the most changed bytes:');
  for (const each of diff.files) console.log(line(each));
  return 0;
}

/** What a restore of the snapshot takes, or why this version does not read it. */
async function totalsOf(store: ReturnType<typeof s3Store>, set: string, id: string) {
  try {
    return (await readManifest(store, set, id))?.manifest.totals;
  } catch (error) {
    if (error instanceof UnsupportedFormat) return error.message;
    throw error;
  }
}
