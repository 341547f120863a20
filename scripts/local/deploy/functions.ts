import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CreateEventSourceMappingCommand,
  CreateFunctionCommand,
  type LambdaClient,
  PutFunctionConcurrencyCommand,
} from '@aws-sdk/client-lambda';
import { unzipSync, zipSync } from 'fflate';
import type { FunctionSpec } from '../../../shared/runtime/function-spec.ts';
import { lambdaName, type QueueNames } from './names.ts';
import { polledQueues } from './queues.ts';
import type { Deployment } from './settings.ts';

/** Makes the Lambda function out of the built zip, with the wrapper beside the bundle, and connects its queues. */
export async function makeFunction(
  lambda: LambdaClient,
  spec: FunctionSpec,
  deployment: Deployment,
  options: { names: QueueNames; environment: Record<string, string>; dist: string; wrapper: Uint8Array },
): Promise<void> {
  const FunctionName = lambdaName(deployment.prefix, spec.name);
  const bundle = await readBundle(options.dist, spec.name);
  await lambda.send(
    new CreateFunctionCommand({
      FunctionName,
      Runtime: 'nodejs24.x',
      Handler: 'wrapper.handler',
      Role: `arn:aws:iam::${deployment.home.account}:role/${FunctionName}`,
      MemorySize: spec.memoryMb,
      Timeout: spec.timeoutSeconds,
      LoggingConfig: { LogGroup: FunctionName },
      Environment: { Variables: options.environment },
      Code: { ZipFile: zipSync({ ...unzipSync(bundle), 'wrapper.js': options.wrapper }) },
    }),
  );
  if (spec.reservedConcurrency !== undefined) {
    const ReservedConcurrentExecutions = spec.reservedConcurrency;
    await lambda.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions }));
  }
  for (const queue of polledQueues(spec, options.names)) {
    await lambda.send(
      new CreateEventSourceMappingCommand({
        FunctionName,
        EventSourceArn: options.names.arn(queue),
        BatchSize: spec.batchSize,
        FunctionResponseTypes: ['ReportBatchItemFailures'],
        ScalingConfig: { MaximumConcurrency: spec.concurrency },
      }),
    );
  }
}

async function readBundle(dist: string, name: string): Promise<Uint8Array> {
  const file = join(dist, 'functions', `${name}.zip`);
  try {
    return await readFile(file);
  } catch (cause) {
    throw new Error(`${file} is missing: run \`node scripts/build/main.ts\``, { cause });
  }
}
