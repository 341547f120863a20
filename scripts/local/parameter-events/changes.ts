import * as v from 'valibot';
import type { Home, OutgoingEvent } from '../service.ts';

/**
 * The `Parameter Store Change` events that Parameter Store publishes and the emulator does not, derived from a call
 * and its answer, since every call passes the gateway.
 */

type Operation = 'Create' | 'Update' | 'Delete' | 'LabelParameterVersion';

/** The request and the answer of a call. */
export type ParameterCall = {
  /** The operation's name in `X-Amz-Target`. */
  operation: string;
  /** The parsed JSON body of the call. */
  request: unknown;
  /** The parsed JSON body of its successful answer. */
  response: unknown;
};

/** What is known of parameters besides the call: the type of one that is deleted or overwritten. */
export type ParameterTypes = {
  /** Remembers, forgets and answers by full name. */
  get(name: string): string | undefined;
  set(name: string, type: string): unknown;
  delete(name: string): unknown;
};

const putSchema = v.object({
  request: v.object({
    Name: v.string(),
    Type: v.optional(v.string()),
    Description: v.optional(v.string()),
  }),
  response: v.object({ Version: v.number() }),
});
const deleteSchema = v.object({ request: v.object({ Name: v.string() }) });
const deleteManySchema = v.object({
  response: v.object({ DeletedParameters: v.optional(v.array(v.string()), []) }),
});
const labelSchema = v.object({
  request: v.object({ Name: v.string(), Labels: v.array(v.string()) }),
  response: v.object({ InvalidLabels: v.optional(v.array(v.string()), []) }),
});

/** Operations that can cause an event. The gateway does not read the bodies of other operations. */
export const CHANGING_OPERATIONS: ReadonlySet<string> = new Set([
  'PutParameter',
  'DeleteParameter',
  'DeleteParameters',
  'LabelParameterVersion',
]);

/**
 * The events that a call makes, in order. They have name and type, never a value or a version: a subscriber must read
 * the parameter again.
 *
 * @param types is updated
 * @throws {v.ValiError} if the call or its answer does not conform to the API
 */
export function parameterEvents(call: ParameterCall, types: ParameterTypes, home: Home): OutgoingEvent[] {
  switch (call.operation) {
    case 'PutParameter':
      return [put(call, types, home)];
    case 'DeleteParameter':
      return [remove(v.parse(deleteSchema, call).request.Name, types, home)];
    case 'DeleteParameters':
      return v
        .parse(deleteManySchema, call)
        .response.DeletedParameters.map((name) => remove(name, types, home));
    case 'LabelParameterVersion':
      return label(call, types, home);
    default:
      return [];
  }
}

/** The first version is a new parameter. */
function put(call: ParameterCall, types: ParameterTypes, home: Home): OutgoingEvent {
  const { request, response } = v.parse(putSchema, call);
  const type = request.Type ?? types.get(request.Name) ?? 'String';
  types.set(request.Name, type);
  const extra = request.Description === undefined ? {} : { description: request.Description };
  return event(response.Version === 1 ? 'Create' : 'Update', request.Name, type, home, extra);
}

function remove(name: string, types: ParameterTypes, home: Home): OutgoingEvent {
  const type = types.get(name) ?? 'String';
  types.delete(name);
  return event('Delete', name, type, home);
}

/** Labels that were all refused change nothing. */
function label(call: ParameterCall, types: ParameterTypes, home: Home): OutgoingEvent[] {
  const { request, response } = v.parse(labelSchema, call);
  if (request.Labels.every((label) => response.InvalidLabels.includes(label))) return [];
  const type = types.get(request.Name) ?? 'String';
  return [event('LabelParameterVersion', request.Name, type, home)];
}

function event(
  operation: Operation,
  name: string,
  type: string,
  home: Home,
  extra: Record<string, string> = {},
): OutgoingEvent {
  // A name in a hierarchy begins with the slash that separates it in the ARN; any other name has none.
  const path = name.startsWith('/') ? name : `/${name}`;
  return {
    source: 'aws.ssm',
    detailType: 'Parameter Store Change',
    resources: [`arn:aws:ssm:${home.region}:${home.account}:parameter${path}`],
    detail: { operation, name, type, ...extra },
  };
}
