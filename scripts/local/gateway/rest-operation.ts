/** The REST operations that deploying and scheduling use, by service, method and path. */
const OPERATIONS: Record<string, readonly [method: string, path: RegExp, operation: string][]> = {
  lambda: [
    ['POST', /^\/2015-03-31\/functions\/?$/, 'CreateFunction'],
    ['GET', /^\/2015-03-31\/functions\/[^/]+$/, 'GetFunction'],
    ['POST', /^\/2015-03-31\/functions\/[^/]+\/invocations$/, 'Invoke'],
    ['PUT', /^\/2015-03-31\/functions\/[^/]+\/code$/, 'UpdateFunctionCode'],
    ['POST', /^\/2015-03-31\/event-source-mappings\/?$/, 'CreateEventSourceMapping'],
  ],
  scheduler: [
    ['POST', /^\/schedules\/[^/]+$/, 'CreateSchedule'],
    ['GET', /^\/schedules\/[^/]+$/, 'GetSchedule'],
    ['PUT', /^\/schedules\/[^/]+$/, 'UpdateSchedule'],
    ['DELETE', /^\/schedules\/[^/]+$/, 'DeleteSchedule'],
  ],
};

/** The operation's name, or method and path where the table has none. */
export function restOperation(service: string, method: string, path: string): string {
  const found = OPERATIONS[service]?.find(([verb, pattern]) => verb === method && pattern.test(path));
  return found?.[2] ?? `${method} ${path}`;
}
