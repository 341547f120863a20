import {
  DeleteParametersCommand,
  GetParametersByPathCommand,
  PutParameterCommand,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import type { Present } from './plan.ts';
import type { ParameterPort } from './ports.ts';

/** Parameter Store's limits: parameters a page, and names a delete. */
const PAGE = 10;
const DELETE_BATCH = 10;

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
        for (const { Name, Value, Type, Version } of page.Parameters ?? []) {
          if (Name === undefined) continue;
          present.push({ name: Name, value: Value ?? '', type: Type ?? '', version: Version ?? 0 });
        }
        token = page.NextToken;
      } while (token);
      return present;
    },
    async put(name, value) {
      await client.send(
        new PutParameterCommand({ Name: name, Value: value, Type: 'String', Overwrite: true }),
      );
    },
    async remove(names) {
      for (let first = 0; first < names.length; first += DELETE_BATCH) {
        await client.send(new DeleteParametersCommand({ Names: names.slice(first, first + DELETE_BATCH) }));
      }
    },
  };
}
