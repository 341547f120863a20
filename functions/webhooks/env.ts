import * as v from 'valibot';
import { json, text, url } from '../../shared/runtime/env.ts';

/** Environment of `webhooks`; `function.json` lists the same names. */
export const webhooksEnv = {
  /** The prefix of the deployment, which every metric carries. */
  NAME_PREFIX: text,
  /** The bucket of the deployment: `config/groups.json`. */
  BUCKET: text,
  SCALING_INBOX_URL: url,
  /** Ids of the secrets, by CI provider. A provider without groups has none. */
  WEBHOOK_SECRETS: json(
    v.pipe(
      v.object({ gha: v.optional(text), bk: v.optional(text) }),
      v.transform(({ gha, bk }) => ({ gha, bk })),
    ),
  ),
};
