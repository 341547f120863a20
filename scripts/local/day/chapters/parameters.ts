import { GetParameterCommand, PutParameterCommand } from '@aws-sdk/client-ssm';
import { type Chapter, type Day, expectThat } from '../day.ts';

const NAME = '/aw/groups/gha/default';

async function currentValue(day: Day, region?: string): Promise<string | undefined> {
  const { ssm, ssmOf } = day.cloud.clients;
  const client = region === undefined ? ssm : ssmOf(region);
  const { Parameter } = await client.send(new GetParameterCommand({ Name: NAME }));
  return Parameter?.Value;
}

export const handEdit: Chapter = {
  title: 'hand-edited parameter repaired',
  async play(day) {
    const before = await currentValue(day);
    const began = performance.now();
    await day.cloud.clients.ssm.send(
      new PutParameterCommand({ Name: NAME, Value: '{"maxRunners":999}', Type: 'String', Overwrite: true }),
    );
    day.tell(`somebody writes {"maxRunners":999} to ${NAME}`);
    await day.until('the repair', async () => (await currentValue(day)) === before, { seconds: 60 });
    const seconds = (performance.now() - began) / 1000;
    const replica = day.cloud.deployment.replicaRegions[0];
    expectThat((await currentValue(day, replica)) === before, `the copy in ${replica} differs`);
    day.tell('it is what was declared again');
    return `repaired after ${seconds.toFixed(1)} s, copy in ${replica} untouched`;
  },
};
