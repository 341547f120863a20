import * as v from 'valibot';

/** A resource of the applied example, in the format of `terraform show -json`. */
export type Resource = { address: string; type: string; name: string; values: Record<string, unknown> };

const resourceSchema = v.object({
  address: v.string(),
  mode: v.string(),
  type: v.string(),
  name: v.string(),
  values: v.record(v.string(), v.unknown()),
});

type Module = {
  resources?: v.InferOutput<typeof resourceSchema>[] | undefined;
  child_modules?: Module[] | undefined;
};

const moduleSchema: v.GenericSchema<Module> = v.object({
  resources: v.optional(v.array(resourceSchema)),
  child_modules: v.optional(v.array(v.lazy(() => moduleSchema))),
});

const shown = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ values: v.object({ root_module: moduleSchema }) }),
);

/** Every managed resource of a state, from all modules. */
export function resourcesOf(show: string): Resource[] {
  const flat = (module: Module): Resource[] => [
    ...(module.resources ?? []).filter(({ mode }) => mode === 'managed'),
    ...(module.child_modules ?? []).flatMap(flat),
  ];
  return flat(v.parse(shown, show).values.root_module);
}

/** The only resource of a list. */
export function only(resources: readonly Resource[]): Resource {
  const [one] = resources;
  if (!one || resources.length > 1) throw new Error(`expected one resource, found ${resources.length}`);
  return one;
}

/** A value that must be a string. */
export function text(value: unknown): string {
  return v.parse(v.string(), value);
}

const stringOrList = v.pipe(
  v.union([v.string(), v.array(v.string())]),
  v.transform((value) => (typeof value === 'string' ? [value] : value)),
);

const policySchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    Statement: v.array(
      v.object({
        Sid: v.optional(v.string()),
        Effect: v.string(),
        Action: stringOrList,
        Resource: v.optional(stringOrList, []),
        Principal: v.optional(v.unknown()),
        Condition: v.optional(v.unknown()),
      }),
    ),
  }),
);

export type Statement = v.InferOutput<typeof policySchema>['Statement'][number];

/** The statements of a policy document. */
export function statements(policy: unknown): Statement[] {
  return v.parse(policySchema, policy).Statement;
}

/** Whether an IAM pattern matches an ARN. A star matches any characters, including colons and slashes. */
export function covers(pattern: string, arn: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(arn);
}
