/** Content of small outputs in memory, up to a number of bytes. What was not used for the longest time goes first. */
export class MemoryTier {
  readonly #contents = new Map<string, Buffer>();
  readonly #limit: number;
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(sha256: string): Buffer | undefined {
    const content = this.#contents.get(sha256);
    if (content) {
      this.#contents.delete(sha256);
      this.#contents.set(sha256, content);
    }
    return content;
  }

  set(sha256: string, content: Buffer): void {
    if (this.#contents.has(sha256)) return;
    // A part of a larger buffer would keep all of it.
    this.#contents.set(sha256, Buffer.from(content));
    this.#bytes += content.length;
    for (const [name, { length }] of this.#contents) {
      if (this.#bytes <= this.#limit) return;
      this.#contents.delete(name);
      this.#bytes -= length;
    }
  }
}
