import {
  DeleteParametersCommand,
  GetParametersByPathCommand,
  PutParameterCommand,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import type { Present } from './plan.ts';
import type { ParameterPort } from './ports.ts';

/** Parameter Store's limit for parameters a page (GetParametersByPath). */
const PAGE = 10;

/** Parameter Store in the client's region. */
export function parameterStore(client: Pick<SSMClient, 'send'>): ParameterPort {
  return {
    async list(root) {
      const present: Present[] = [];
      let token: string | undefined;
      do {
        // A page may be empty and have a token all the same.
        const page = await client.send(
          new GetParametersByPathCommand({
            Path: root,
            Recursive: true,
            MaxResults: PAGE,
            ...(token !== undefined && { NextToken: token }),
          }),
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
    async put(name, value) {
      // The tier is named because an account's default may be the advanced one, from which there is no way back.
      await client.send(
        new PutParameterCommand({
          Name: name,
          Value: value,
          Type: 'String',
          Tier: 'Standard',
          Overwrite: true,
        }),
      );
    },
    async remove(names) {
      await client.send(new DeleteParametersCommand({ Names: [...names] }));
    },
  };
}
