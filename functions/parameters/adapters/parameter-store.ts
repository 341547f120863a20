import {
  DeleteParametersCommand,
  GetParametersByPathCommand,
  PutParameterCommand,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import type { Parameter, ParameterPort } from '../ports.ts';

/** Most parameters per page of GetParametersByPath (Systems Manager API reference). */
const PAGE = 10;

/** Parameter Store in the client's region. */
export function parameterStore(client: Pick<SSMClient, 'send'>): ParameterPort {
  return {
    async list(root, signal) {
      const present: Parameter[] = [];
      let token: string | undefined;
      do {
        // An empty page can have a token.
        const page = await client.send(
          new GetParametersByPathCommand({
            Path: root,
            Recursive: true,
            MaxResults: PAGE,
            ...(token !== undefined && { NextToken: token }),
          }),
          { abortSignal: signal },
        );
        for (const { Name, Value, Type, LastModifiedDate } of page.Parameters ?? []) {
          if (Name === undefined) continue;
          present.push({
            name: Name,
            value: Value ?? '',
            type: Type ?? '',
            modifiedAt: LastModifiedDate ?? new Date(0),
          });
        }
        token = page.NextToken;
      } while (token);
      return present;
    },
    async put(name, value, signal) {
      // An account's default tier can be the advanced one, which cannot be changed back to standard.
      await client.send(
        new PutParameterCommand({
          Name: name,
          Value: value,
          Type: 'String',
          Tier: 'Standard',
          Overwrite: true,
        }),
        { abortSignal: signal },
      );
    },
    async remove(names, signal) {
      await client.send(new DeleteParametersCommand({ Names: [...names] }), { abortSignal: signal });
    },
  };
}
