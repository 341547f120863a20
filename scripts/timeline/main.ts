import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { jsonLines, parseEvent, SourceError, type TimelineEvent } from './events.ts';
import { writePage } from './page.ts';
import { logsClient, readLogs } from './sources/cloudwatch.ts';
import { isRecording, readRecording } from './sources/local-run.ts';

const USAGE = `Usage: npm run timeline -- SOURCE [options]

SOURCE
  FILE.jsonl          a recording of npm start (.local/timeline/day.jsonl), or events of the timeline
  cloudwatch:PREFIX   the logs of a deployment, for example cloudwatch:aw

Options
  --out FILE          the page (default: .local/timeline/timeline.html)
  --events FILE       writes the events too, one JSON object per line
  --from TIME         cloudwatch: beginning, ISO 8601 (default: 24 h before the end)
  --to TIME           cloudwatch: end (default: now)
  --region REGION     cloudwatch: region (default: that of the environment or of the profile)
  --no-runners        cloudwatch: without the logs of the runners, so without jobs`;

/** The command line is wrong. */
class UsageError extends Error {
  override readonly name = 'UsageError';
}

const DAY_MS = 86_400_000;

async function main(argv: readonly string[]): Promise<void> {
  const root = resolve(import.meta.dirname, '../..');
  const { values, positionals } = parse(argv);
  if (values.help) return console.log(USAGE);
  const [source, ...rest] = positionals;
  if (source === undefined || rest.length > 0) throw new UsageError('name one source');
  const read = source.startsWith('cloudwatch:')
    ? await fromLogs(source.slice('cloudwatch:'.length), values)
    : await fromFile(source);
  const events = read.map((event) => parseEvent(event, source));
  if (values.events !== undefined) {
    await writeFile(values.events, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  }
  const file = resolve(values.out ?? join(root, '.local', 'timeline', 'timeline.html'));
  const { fleet, bytes } = await writePage(file, events);
  const { runners, jobs } = fleet.figures;
  console.log(`${runners} runners, ${jobs} jobs, ${(bytes / 1e6).toFixed(2)} MB: ${file}`);
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        out: { type: 'string' },
        events: { type: 'string' },
        from: { type: 'string' },
        to: { type: 'string' },
        region: { type: 'string' },
        'no-runners': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

type Values = ReturnType<typeof parse>['values'];

async function fromLogs(prefix: string, values: Values): Promise<TimelineEvent[]> {
  if (!/^[a-z0-9-]{1,20}$/i.test(prefix))
    throw new UsageError(`${prefix || 'an empty text'} is no prefix of a deployment`);
  const to = timeOf('--to', values.to) ?? Date.now();
  const from = timeOf('--from', values.from) ?? to - DAY_MS;
  if (from >= to) throw new UsageError('--from has to be before --to');
  const progress = (line: string) => console.error(line);
  return readLogs(logsClient(values.region), {
    prefix,
    from,
    to,
    withRunners: !values['no-runners'],
    progress,
  });
}

function timeOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new UsageError(`${option} ${text} is no time: write it as 2026-11-23T08:00:00Z`);
  return time;
}

async function fromFile(file: string): Promise<TimelineEvent[]> {
  if (!existsSync(file))
    throw new SourceError(`${file} does not exist: npm start writes .local/timeline/day.jsonl`);
  const events: TimelineEvent[] = [];
  let isFirst = true;
  for await (const { value, place } of jsonLines(file)) {
    if (isFirst && isRecording(value)) return readRecording(file);
    isFirst = false;
    events.push(parseEvent(value, place));
  }
  return events;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const isUsage = error instanceof UsageError;
  if (!isUsage && !(error instanceof SourceError)) throw error;
  console.error(isUsage ? `${error.message}\n\n${USAGE}` : error.message);
  process.exitCode = isUsage ? 2 : 1;
}
