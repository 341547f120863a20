/** An answer other than success, as Auto Scaling gives it on the wire. */
export class AutoScalingError extends Error {
  override readonly name = 'AutoScalingError';
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Most refusals of Auto Scaling have this code and differ only in their message. */
export function validationError(message: string): AutoScalingError {
  return new AutoScalingError('ValidationError', message);
}

export function groupNotFound(name: string): AutoScalingError {
  return validationError(`AutoScalingGroup name not found - AutoScalingGroup '${name}' not found`);
}

export function instanceNotFound(id: string): AutoScalingError {
  return validationError(`Instance Id not found - No managed instance found for instance ID: ${id}`);
}
