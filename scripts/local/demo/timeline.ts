import { join } from 'node:path';
import { parseEvent } from '../../timeline/events.ts';
import { writePage } from '../../timeline/page.ts';
import { readRecording, writeRecording } from '../../timeline/sources/local-run.ts';
import type { Cloud } from '../cloud.ts';

/** Writes the recording of the day and its page, which outlive the run. @returns the path of the page */
export async function writeTimeline(root: string, cloud: Cloud, startedAt: Date): Promise<string> {
  const file = (name: string) => join(root, '.local', 'timeline', name);
  await writeRecording(file('day.jsonl'), cloud, 'A day of the local cloud', startedAt);
  const events = await readRecording(file('day.jsonl'));
  await writePage(
    file('day.html'),
    events.map((event) => parseEvent(event, 'day.jsonl')),
  );
  return file('day.html');
}
