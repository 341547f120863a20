import { describe, expect, it } from 'vitest';
import { CHANGING_OPERATIONS, type ParameterCall, parameterEvents } from './changes.ts';

const HOME = { account: '210987654321', region: 'us-west-2' };
const NAME = '/aw/deployment';

function history(...calls: ParameterCall[]) {
  const types = new Map<string, string>();
  return calls.flatMap((call) => parameterEvents(call, types, HOME));
}

const put = (Version: number, request: Record<string, unknown> = {}): ParameterCall => ({
  operation: 'PutParameter',
  request: { Name: NAME, Value: 'secret value', Type: 'SecureString', ...request },
  response: { Version, Tier: 'Standard' },
});

describe('parameterEvents', () => {
  it('distinguishes a new parameter from a changed one, and contains no value', () => {
    const events = history(
      put(1, { Description: 'What is deployed' }),
      put(2, { Type: undefined, Overwrite: true }),
    );
    expect(events).toEqual([
      {
        source: 'aws.ssm',
        detailType: 'Parameter Store Change',
        resources: [`arn:aws:ssm:us-west-2:210987654321:parameter${NAME}`],
        detail: { operation: 'Create', name: NAME, type: 'SecureString', description: 'What is deployed' },
      },
      expect.objectContaining({ detail: { operation: 'Update', name: NAME, type: 'SecureString' } }),
    ]);
    expect(JSON.stringify(events)).not.toContain('secret value');
  });

  it('names each parameter that was really deleted', () => {
    const request = { Names: [NAME, 'plain', '/aw/none'] };
    const response = { DeletedParameters: [NAME, 'plain'], InvalidParameters: ['/aw/none'] };
    const events = history(put(1), { operation: 'DeleteParameters', request, response });
    expect(events.slice(1).map((event) => [event.detail, event.resources[0]])).toEqual([
      [
        { operation: 'Delete', name: NAME, type: 'SecureString' },
        `arn:aws:ssm:us-west-2:210987654321:parameter${NAME}`,
      ],
      [
        { operation: 'Delete', name: 'plain', type: 'String' },
        'arn:aws:ssm:us-west-2:210987654321:parameter/plain',
      ],
    ]);
    const one = history({ operation: 'DeleteParameter', request: { Name: NAME }, response: {} });
    expect(one).toMatchObject([{ detail: { operation: 'Delete', name: NAME } }]);
  });

  it('publishes an event when a version gets a label, unless every label was invalid', () => {
    const label = (InvalidLabels: string[]): ParameterCall => ({
      operation: 'LabelParameterVersion',
      request: { Name: NAME, Labels: ['a', 'b'] },
      response: { InvalidLabels, ParameterVersion: 1 },
    });
    expect(history(label([]), label(['a']), label(['a', 'b']))).toHaveLength(2);
  });

  it('is silent on calls that change nothing, and loud on answers that make no sense', () => {
    const get = { operation: 'GetParameter', request: { Name: NAME }, response: { Parameter: {} } };
    expect(history(get)).toEqual([]);
    expect(CHANGING_OPERATIONS.has('GetParameter')).toBe(false);
    expect(() => history({ operation: 'PutParameter', request: {}, response: {} })).toThrow('Name');
  });
});
