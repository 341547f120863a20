import type { Demo, Step } from './step.ts';
import type { Row } from './table.ts';

/** A step, and the steps whose success it needs. */
export type PlannedStep = { step: Step; after: readonly Step[] };

/**
 * Runs the steps, each as soon as the steps that it needs have succeeded. A step that needs a failed one does not run; all others do.
 *
 * @param demoOf what a step gets
 * @throws the reason of `signal` once it is aborted
 * @returns one row per step, in the order of `plan`
 */
export async function runSteps(
  plan: readonly PlannedStep[],
  demoOf: (step: Step) => Demo,
  signal: AbortSignal,
): Promise<Row[]> {
  const running = new Map<Step, Promise<Row>>();

  async function run({ step, after }: PlannedStep): Promise<Row> {
    const row: Row = { step: step.title, seconds: 0, result: '', outcome: 'not run' };
    const needed = await Promise.all(after.map((other) => rowOf(plannedOf(other))));
    if (needed.some(({ outcome }) => outcome !== 'ok')) return row;
    const start = performance.now();
    try {
      row.result = await step.run(demoOf(step));
      row.outcome = 'ok';
    } catch (error) {
      if (signal.aborted) throw error;
      row.outcome = 'failed';
      row.result = error instanceof Error ? error.message.slice(0, 120) : String(error);
      console.error(error);
    }
    row.seconds = (performance.now() - start) / 1000;
    return row;
  }

  function plannedOf(step: Step): PlannedStep {
    const found = plan.find((one) => one.step === step);
    if (!found) throw new Error(`the step ${step.title} is needed and not planned`);
    return found;
  }

  function rowOf(planned: PlannedStep): Promise<Row> {
    const found = running.get(planned.step) ?? run(planned);
    running.set(planned.step, found);
    return found;
  }

  return Promise.all(plan.map(rowOf));
}
