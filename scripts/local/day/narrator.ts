/** Tells the person at the terminal what happens, as it happens, with the time since the start. */
export type Narrator = { title(text: string): void; line(text: string): void };

export function narrator(write: (text: string) => void = console.log): Narrator {
  const began = performance.now();
  const time = () => `${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s`;
  return {
    title: (text) => write(`\n${time()}  ${text}`),
    line: (text) => write(`${time()}    ${text}`),
  };
}
