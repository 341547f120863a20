import type { FileHandle } from 'node:fs/promises';

/** Bytes of a file that may wait for the disk: it is written back while it grows, so that its end is short. */
const WRITE_BACK_BYTES = 256 * 1024 * 1024;

/** Writes a file back while it is filled. */
export type WriteBack = {
  /** So many bytes were written to the file. */
  add(bytes: number): void;
  /** Resolves when everything is on the disk. @throws also the error of an earlier write-back: the kernel reports it only once */
  end(): Promise<void>;
};

export function startWriteBack(file: FileHandle): WriteBack {
  let unwritten = 0;
  let lost: unknown;
  let writing: Promise<unknown> = Promise.resolve();
  return {
    add(bytes) {
      unwritten += bytes;
      if (unwritten < WRITE_BACK_BYTES) return;
      unwritten = 0;
      const earlier = writing;
      writing = file
        .datasync()
        .catch((error: unknown) => {
          lost ??= error;
        })
        .then(() => earlier);
    },
    async end() {
      await file.sync();
      await writing;
      if (lost !== undefined) throw lost;
    },
  };
}
