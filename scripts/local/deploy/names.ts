import type { Home } from '../service.ts';
import type { Deployment } from './settings.ts';

/** Where the queues of one deployment are: names, ARNs, and URLs below the gateway. */
export type QueueNames = {
  url(name: string): string;
  arn(name: string): string;
  inbox(functionName: string): string;
  dead(functionName: string): string;
  extra(queue: string): string;
};

export function queueNames({ home, prefix }: Deployment, gatewayUrl: string): QueueNames {
  return {
    url: (name) => `${gatewayUrl}/${home.account}/${name}`,
    arn: (name) => arn(home, 'sqs', name),
    inbox: (functionName) => inboxName(prefix, functionName),
    dead: (functionName) => `${prefix}-${functionName}-dead`,
    extra: (queue) => `${prefix}-${queue}`,
  };
}

/** `aw-lifecycle-inbox`. */
export function inboxName(prefix: string, functionName: string): string {
  return `${prefix}-${functionName}-inbox`;
}

export function arn(home: Home, service: string, resource: string): string {
  return `arn:aws:${service}:${home.region}:${home.account}:${resource}`;
}

/** `aw-reports`: the event bus of the deployment's own events, which are the verified reports. */
export function eventBusName(prefix: string): string {
  return `${prefix}-reports`;
}

/** `aw_lifecycle`: also the name of its log group. */
export function lambdaName(prefix: string, functionName: string): string {
  return `${prefix}_${functionName}`;
}

/** Puts the deployment's values into the placeholders of function.json, wherever they stand in `value`. */
export function fill<T>(value: T, values: Record<string, string>): T {
  const text = JSON.stringify(value).replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => {
    const found = values[name];
    if (found === undefined) throw new Error(`function.json uses ${whole}, which a deployment does not have`);
    return JSON.stringify(found).slice(1, -1);
  });
  return JSON.parse(text);
}
