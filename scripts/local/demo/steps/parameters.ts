import { GetParameterCommand, ParameterNotFound, PutParameterCommand } from '@aws-sdk/client-ssm';
import { type Demo, expectThat, type Step } from '../step.ts';

const NAME = '/aw/groups/gha/default';

async function currentValue(demo: Demo, region?: string): Promise<string | undefined> {
  const { ssm, ssmOf } = demo.cloud.clients;
  const client = region === undefined ? ssm : ssmOf(region);
  try {
    const { Parameter } = await client.send(new GetParameterCommand({ Name: NAME }));
    return Parameter?.Value;
  } catch (error) {
    if (error instanceof ParameterNotFound) return undefined;
    throw error;
  }
}

export const handEdit: Step = {
  title: 'repair of an edited parameter',
  async run(demo) {
    const replica = demo.cloud.deployment.replicaRegions[0];
    const before = await demo.waitFor('the declared value', () => currentValue(demo, replica), {
      seconds: 300,
    });
    const began = performance.now();
    await demo.cloud.clients.ssm.send(
      new PutParameterCommand({ Name: NAME, Value: '{"maxRunners":999}', Type: 'String', Overwrite: true }),
    );
    demo.log(`an operator writes {"maxRunners":999} to ${NAME}`);
    await demo.waitFor('the repair', async () => (await currentValue(demo)) === before, { seconds: 300 });
    const seconds = (performance.now() - began) / 1000;
    expectThat((await currentValue(demo, replica)) === before, `the replica in ${replica} differs`);
    demo.log('the parameter has its declared value again');
    return `repaired after ${seconds.toFixed(1)} s, replica in ${replica} unchanged`;
  },
};
