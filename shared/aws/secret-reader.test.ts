import { expect, test } from 'vitest';
import { ConfigurationError } from '../runtime/errors.ts';
import { redactText } from '../runtime/redact.ts';
import { secretReader } from './secret-reader.ts';

type Answer = string | undefined | Error;

function reader(answers: Answer[]) {
  let time = 0;
  let reads = 0;
  const send = async () => {
    const answer = answers[Math.min(reads++, answers.length - 1)];
    if (answer instanceof Error) throw answer;
    return { SecretString: answer };
  };
  const secret = secretReader({ send } as never, 'aw_pd_routing_key_x', { now: () => new Date(time) });
  return { secret, reads: () => reads, pass: (seconds: number) => (time += seconds * 1000) };
}

const named = (name: string, message = name) => Object.assign(new Error(message), { name });

test('is read once, and again after five minutes: rotation needs no deployment', async () => {
  const { secret, reads, pass } = reader(['first', 'second']);
  expect(await secret.get()).toBe('first');
  pass(299);
  expect(await secret.get()).toBe('first');
  expect(reads()).toBe(1);
  pass(2);
  expect(await secret.get()).toBe('second');
});

test('is read again after a refusal', async () => {
  const { secret } = reader(['old', 'new']);
  await secret.get();
  secret.refresh();
  expect(await secret.get()).toBe('new');
});

test('one without a value is read each time: its first value works at once', async () => {
  const { secret } = reader([
    named('ResourceNotFoundException', "can't find the specified secret value for staging label: AWSCURRENT"),
    '',
    'set-at-last',
  ]);
  expect(await secret.get()).toBeUndefined();
  expect(await secret.get()).toBeUndefined();
  expect(await secret.get()).toBe('set-at-last');
});

test('one that does not exist is an error of the deployment', async () => {
  const { secret } = reader([
    named('ResourceNotFoundException', "Secrets Manager can't find the specified secret."),
  ]);
  await expect(secret.get()).rejects.toThrow(ConfigurationError);
  await expect(secret.get()).rejects.toThrow('aw_pd_routing_key_x');
});

test('one that is marked for deletion is an error of the deployment', async () => {
  const { secret } = reader([
    named(
      'InvalidRequestException',
      "You can't perform this operation on the secret because it was marked for deletion.",
    ),
  ]);
  await expect(secret.get()).rejects.toThrow(ConfigurationError);
});

test('an outage is not taken for an empty secret', async () => {
  const { secret } = reader([named('InternalServiceError')]);
  await expect(secret.get()).rejects.toThrow('InternalServiceError');
});

test('a value that was read is never printed', async () => {
  const { secret } = reader(['value-read-from-a-secret']);
  await secret.get();
  expect(redactText('x value-read-from-a-secret')).toBe('x [redacted]');
});
