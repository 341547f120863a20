import type { Present } from '../plan.ts';
import type { ParameterPort } from '../ports.ts';

/** Parameter Store of one region, in memory. */
export type FakeRegion = ParameterPort & {
  /** As somebody else would change it. */
  edit(name: string, value: string, at: Date, type?: string): void;
  erase(name: string): void;
  values(): Record<string, string>;
  /** Names that were put or removed, in order. */
  calls: string[];
  /** Called before each put or remove; may throw. */
  before: (names: readonly string[]) => void;
};

/** @param now stamps what is put */
export function fakeRegion(now: () => Date): FakeRegion {
  const there = new Map<string, Present>();
  const region: FakeRegion = {
    calls: [],
    before: () => {},
    edit(name, value, modifiedAt, type = 'String') {
      there.set(name, { name, value, type, modifiedAt });
    },
    erase: (name) => void there.delete(name),
    values: () => Object.fromEntries([...there.values()].map(({ name, value }) => [name, value])),
    list: async (root) => [...there.values()].filter(({ name }) => name.startsWith(`${root}/`)),
    async put(name, value) {
      region.before([name]);
      region.calls.push(`put ${name}`);
      const found = there.get(name);
      if (found && found.type !== 'String') {
        throw awsError('HierarchyTypeMismatchException', 'a parameter type cannot be changed');
      }
      there.set(name, { name, value, type: 'String', modifiedAt: now() });
    },
    async remove(names) {
      region.before(names);
      for (const name of names) {
        region.calls.push(`remove ${name}`);
        there.delete(name);
      }
    },
  };
  return region;
}

/** An error as the SDK throws it. */
export function awsError(name: string, message = name): Error {
  return Object.assign(new Error(message), { name });
}
