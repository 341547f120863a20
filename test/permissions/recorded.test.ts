import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readFunctionSpecs } from '../../shared/runtime/function-spec.ts';
import { deployed, noDeployment } from './deployment.ts';
import { requestsOf } from './iam-requests.ts';
import { type IamRequest, judge } from './judge.ts';
import { callsOfTheProduct, noCalls, recordings } from './recordings.ts';

const root = resolve(import.meta.dirname, '../..');
const functions = (await readFunctionSpecs(root)).map(({ name }) => name);
const calls = callsOfTheProduct(functions);

describe.skipIf(noCalls !== undefined)('the calls of the end-to-end tests', () => {
  test('are there', () => {
    expect(recordings.length).toBeGreaterThan(0);
    expect(calls.length).toBeGreaterThan(20);
  });

  test('exist in the service models of botocore, with every member of their inputs', () => {
    const python = resolve(root, '.local/venv/bin/python');
    const program = resolve(import.meta.dirname, 'service_models.py');
    const done = spawnSync(python, [program], {
      input: JSON.stringify(calls),
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    expect(done.stderr).toBe('');
    const { checked, problems } = JSON.parse(done.stdout);
    expect(problems).toEqual([]);
    expect(checked).toBe(calls.length);
  });

  describe.skipIf(noDeployment !== undefined)('are allowed by the policies of the module', () => {
    const made = deployed();

    test('each of them', async () => {
      const resultOf = judge(made);
      const requests = new Map<string, IamRequest>();
      for (const call of calls)
        for (const request of requestsOf(call, made)) requests.set(JSON.stringify(request), request);
      const refused: string[] = [];
      for (const request of requests.values()) {
        const result = await resultOf(request);
        if (result !== 'Allowed') refused.push(`${result}: ${JSON.stringify(request)}`);
      }
      expect(refused).toEqual([]);
      expect(requests.size).toBeGreaterThan(20);
    });
  });
});
