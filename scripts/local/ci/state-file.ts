import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** State that survives the process, if a file is given. */
export type Kept<State> = {
  readonly state: State;
  /** Writes the state if it differs from what the file has. To be called after each change. */
  save(): void;
};

/** @throws if the file exists and cannot be read or is no JSON. */
export function keep<State>(file: string | undefined, fresh: State): Kept<State> {
  if (file === undefined) return { state: fresh, save() {} };
  let last = read(file);
  const state: State = last === undefined ? fresh : { ...fresh, ...JSON.parse(last) };
  return {
    state,
    save() {
      const text = JSON.stringify(state);
      if (text === last) return;
      // A kill between two writes leaves the old file, never half of the new one.
      writeFileSync(`${file}.new`, text, { mode: 0o600 });
      renameSync(`${file}.new`, file);
      last = text;
    },
  };
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
