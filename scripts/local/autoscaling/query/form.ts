import { validationError } from '../core/errors.ts';

/**
 * The parameters of one call in the AWS Query protocol: flat names such as `Tags.member.1.Key`, read through what the
 * operation depends on their shape.
 */
export type Form = {
  text(name: string): string | undefined;
  /** @throws {AutoScalingError} ValidationError if it is absent */
  required(name: string): string;
  integer(name: string): number | undefined;
  boolean(name: string): boolean | undefined;
  /** Texts of a list; empty if it is absent. */
  texts(name: string): string[];
  /** Structures of a list; empty if it is absent. */
  structures(name: string): Form[];
  /** The structure `name`; all its members are undefined if it is absent. */
  structure(name: string): Form;
  /** Whether anything below `name` is set. */
  has(name: string): boolean;
};

export function parseForm(body: string): Form {
  return formOver(new Map(new URLSearchParams(body)), '');
}

function formOver(values: ReadonlyMap<string, string>, prefix: string): Form {
  const text = (name: string) => values.get(prefix + name);
  const has = (name: string) => [...values.keys()].some((key) => key.startsWith(`${prefix}${name}.`));
  return {
    text,
    has,
    required(name) {
      const value = text(name);
      if (value === undefined || value === '') throw missing(name);
      return value;
    },
    integer(name) {
      const value = text(name);
      if (value === undefined) return undefined;
      if (!/^-?\d{1,9}$/.test(value)) throw malformed(value, name, 'an integer');
      return Number(value);
    },
    boolean(name) {
      const value = text(name);
      if (value === undefined) return undefined;
      if (value !== 'true' && value !== 'false') throw malformed(value, name, 'true or false');
      return value === 'true';
    },
    texts: (name) =>
      indexes(values, `${prefix}${name}.member.`).map(
        (index) => values.get(`${prefix}${name}.member.${index}`) ?? '',
      ),
    structures: (name) =>
      indexes(values, `${prefix}${name}.member.`).map((index) =>
        formOver(values, `${prefix}${name}.member.${index}.`),
      ),
    structure: (name) => formOver(values, `${prefix}${name}.`),
  };
}

/** Positions in a list, ascending. */
function indexes(values: ReadonlyMap<string, string>, prefix: string): number[] {
  const found = new Set<number>();
  for (const key of values.keys()) {
    if (!key.startsWith(prefix)) continue;
    const index = Number.parseInt(key.slice(prefix.length), 10);
    if (Number.isInteger(index)) found.add(index);
  }
  return [...found].sort((a, b) => a - b);
}

function missing(name: string) {
  return validationError(
    `1 validation error detected: Value null at '${lowerFirst(name)}' failed to satisfy constraint: Member must not be null`,
  );
}

function malformed(value: string, name: string, what: string) {
  return validationError(
    `1 validation error detected: Value '${value}' at '${lowerFirst(name)}' failed to satisfy constraint: Member must be ${what}`,
  );
}

function lowerFirst(name: string): string {
  return name.slice(0, 1).toLowerCase() + name.slice(1);
}
