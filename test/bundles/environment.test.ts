import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { alarmsEnv } from '../../functions/alarms/env.ts';
import { lifecycleEnv } from '../../functions/lifecycle/env.ts';
import { parametersEnv } from '../../functions/parameters/env.ts';
import { registrationEnv } from '../../functions/registration/env.ts';
import { scalingEnv } from '../../functions/scaling/env.ts';
import { warmingEnv } from '../../functions/warming/env.ts';
import { webhooksEnv } from '../../functions/webhooks/env.ts';
import { readFunctionSpecs } from '../../shared/runtime/function-spec.ts';

const shapes = {
  alarms: alarmsEnv,
  lifecycle: lifecycleEnv,
  parameters: parametersEnv,
  registration: registrationEnv,
  scaling: scalingEnv,
  warming: warmingEnv,
  webhooks: webhooksEnv,
};

test('function.json names exactly the environment values that the function reads', async () => {
  const specs = await readFunctionSpecs(resolve(import.meta.dirname, '../..'));
  const declared = Object.fromEntries(specs.map(({ name, environment }) => [name, [...environment].sort()]));
  const read = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, Object.keys(shape).sort()]),
  );
  expect(declared).toEqual(read);
});
