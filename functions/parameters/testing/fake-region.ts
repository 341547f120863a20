import type { Parameter, ParameterPort } from '../ports.ts';

/** Rules of Parameter Store for a parameter that somebody else made. */
type Restriction = { advanced?: boolean; allowedPattern?: RegExp; labelledOldest?: boolean };

/** Parameter Store of one region, in memory. */
export type FakeRegion = ParameterPort & {
  /** Changes a parameter as somebody else would. */
  edit(name: string, value: string, at: Date, type?: string, restriction?: Restriction): void;
  erase(name: string): void;
  values(): Record<string, string>;
  /** Names that were put or removed, in order. */
  calls: string[];
  /** Called before each put or remove; may throw. */
  before: (names: readonly string[], signal: AbortSignal) => void | Promise<void>;
};

/** @param now stamps what is put */
export function fakeRegion(now: () => Date): FakeRegion {
  const parameters = new Map<string, Parameter & { restriction: Restriction }>();
  const region: FakeRegion = {
    calls: [],
    before: () => {},
    edit(name, value, modifiedAt, type = 'String', restriction = {}) {
      parameters.set(name, { name, value, type, modifiedAt, restriction });
    },
    erase: (name) => void parameters.delete(name),
    values: () => Object.fromEntries([...parameters.values()].map(({ name, value }) => [name, value])),
    list: async (root) =>
      [...parameters.values()]
        .filter(({ name }) => name.startsWith(`${root}/`))
        .map(({ restriction: _, ...parameter }) => parameter),
    async put(name, value, signal) {
      await region.before([name], signal);
      region.calls.push(`put ${name}`);
      const existing = parameters.get(name);
      if (existing) refuseOverwrite(existing, value);
      parameters.set(name, { name, value, type: 'String', modifiedAt: now(), restriction: {} });
    },
    async remove(names, signal) {
      await region.before(names, signal);
      for (const name of names) {
        region.calls.push(`remove ${name}`);
        parameters.delete(name);
      }
    },
  };
  return region;
}

function refuseOverwrite({ type, restriction }: Parameter & { restriction: Restriction }, value: string) {
  if (type !== 'String') {
    throw awsError('HierarchyTypeMismatchException', 'a parameter type cannot be changed');
  }
  if (restriction.advanced) {
    throw awsError(
      'ValidationException',
      "You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier.",
    );
  }
  if (restriction.allowedPattern && !restriction.allowedPattern.test(value)) {
    throw awsError('ParameterPatternMismatchException');
  }
  if (restriction.labelledOldest) throw awsError('ParameterMaxVersionLimitExceeded');
}

/** An error as the SDK throws it. */
export function awsError(name: string, message = name): Error {
  return Object.assign(new Error(message), { name });
}
