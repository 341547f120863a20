import { z } from 'zod';

/** The envelope of an event as a zod schema, parsed once: what a function with zod does at its first event. */
const envelope = z.object({
  id: z.string(),
  source: z.string(),
  'detail-type': z.string(),
  account: z.string(),
  region: z.string(),
  time: z.iso.datetime(),
  resources: z.array(z.string()).default([]),
  detail: z.record(z.string(), z.unknown()),
});

envelope.safeParse({ id: 'x' });
