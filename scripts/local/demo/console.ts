/** Prints the progress of the demo, each line with the time since the start. */
export type DemoConsole = { title(text: string): void; line(text: string): void };

export function createConsole(write: (text: string) => void = console.log): DemoConsole {
  const started = performance.now();
  const time = () => `${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s`;
  return {
    title: (text) => write(`\n${time()}  ${text}`),
    line: (text) => write(`${time()}    ${text}`),
  };
}
