/**
 * A port whose `methods` throw after `signal` has aborted. After the time limit of a record, Lambda freezes the work that is left
 * and resumes it at a later event of the same environment. What that work has read can be outdated by then, so it must change
 * nothing.
 *
 * @param methods asynchronous methods that change something outside
 */
export function untilAborted<Port extends object>(
  signal: AbortSignal,
  port: Port,
  methods: readonly (keyof Port)[],
): Port {
  return new Proxy(port, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      const changes = methods.includes(name as keyof Port);
      return (...parameters: unknown[]) =>
        changes && signal.aborted ? Promise.reject(signal.reason) : Reflect.apply(value, target, parameters);
    },
  });
}
