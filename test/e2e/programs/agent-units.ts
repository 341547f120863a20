import { systemdUnits } from '../../../infra/runner/src/agents/systemd-units.ts';

/** Calls one method of the units of systemd with JSON arguments, and prints the JSON of its result. */
const [method = '', ...args] = process.argv.slice(2);
const units = systemdUnits({ stateDirectory: '/var/lib/aw-runner', log: console.error });
const call = units[method as keyof typeof units] as (...args: unknown[]) => unknown;
console.log(
  JSON.stringify(
    (await call.apply(
      units,
      args.map((text) => JSON.parse(text)),
    )) ?? null,
  ),
);
