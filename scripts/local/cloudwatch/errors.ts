/** An answer other than success. `code` is the name in the service's query protocol, which clients still map from. */
export class CloudWatchError extends Error {
  override readonly name = 'CloudWatchError';
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}
