import { PermanentError } from '../runtime/errors.ts';

/** An object of the bucket is not what its key names: it is broken or foreign. The outcome of its record is `dead`. */
export class CorruptRecord extends PermanentError {
  readonly key: string;

  constructor(key: string, problem: string) {
    super('corrupt-record', `${key}: ${problem}`);
    this.key = key;
  }
}

/** A snapshot, or a pointer, of a format that this version does not read. It is not broken: another version reads it. */
export class UnsupportedFormat extends PermanentError {
  /** The format that the snapshot, or the record, has. */
  readonly version: number;

  constructor(key: string, version: number, problem: string) {
    super('unsupported-format', `${key}: ${problem}`);
    this.version = version;
  }
}
