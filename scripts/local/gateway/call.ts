/** One call that went through the gateway. Holds no body and no secret: it is shown to people. */
export type Call = {
  /** When it arrived. */
  at: Date;
  service: string;
  operation: string;
  region: string;
  /** Name of whoever signed it. */
  caller: string;
  /** The access key: two workers of one function have two. */
  accessKeyId: string | undefined;
  status: number;
  /** Error code of an injected fault. */
  fault?: string;
  /** Milliseconds until the answer was complete. */
  ms: number;
  /** What the call was about: names and ids, never values. */
  parameters: Record<string, string>;
};
