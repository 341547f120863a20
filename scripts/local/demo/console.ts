/** Prints the progress of the demo, each line with the time since the start and the step that it belongs to. */
export type DemoConsole = { line(step: string, text: string): void };

export function createConsole(write: (text: string) => void = console.log): DemoConsole {
  const started = performance.now();
  const time = () => `${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s`;
  return { line: (step, text) => write(`${time()}  ${step}: ${text}`) };
}
