import * as v from 'valibot';
import type { GroupSettings } from './group-settings.ts';

/**
 * A message of the function `webhooks` to the function `scaling`: a CI provider has queued a job. It names a source that is worth a
 * read now, and nothing that a group needs. The next poll of the minute reads the source in any case.
 */
const about = v.variant('provider', [
  v.object({
    provider: v.literal('gha'),
    /** `owner/name`. */
    repository: v.pipe(v.string(), v.maxLength(256)),
  }),
  // A cluster of Buildkite has one list of queues, so there is nothing more to name.
  v.object({ provider: v.literal('bk') }),
]);

export const hintMessageSchema = v.object({
  hint: v.literal('Job Queued'),
  about,
  /** A read that starts at this time or later has seen the job. */
  at: v.pipe(v.string(), v.isoTimestamp()),
});

export type BacklogHint = v.InferOutput<typeof about>;
export type HintMessage = v.InferOutput<typeof hintMessageSchema>;

/** Whether jobs of what a hint names count for a group. GitHub ignores the case of names. */
export function concerns(hint: BacklogHint, settings: GroupSettings): boolean {
  if (!settings.takesJobs) return false;
  if (hint.provider === 'bk') return settings.provider === 'bk';
  if (settings.provider !== 'gha') return false;
  const { owner, repository, jobsRepository = repository } = settings;
  return `${owner}/${jobsRepository}`.toLowerCase() === hint.repository.toLowerCase();
}
