import type { AgentDriver } from './agents/driver.ts';
import type { RunnerConfig } from './config.ts';
import type { Metadata } from './metadata.ts';
import type { Reporter } from './reporter.ts';
import type { RestoreResult } from './snapshot/index.ts';
import type { StateFile } from './state.ts';

/** Everything that boot and watch work with. */
export type Runner = {
  config: RunnerConfig;
  instanceId: string;
  host: AgentDriver;
  metadata: Metadata;
  reporter: Reporter;
  states: StateFile;
  restore(signal: AbortSignal): Promise<RestoreResult>;
  /** Whether the warm tree stands as it was restored. */
  isWarm(): Promise<boolean>;
  /** Milliseconds since 1970. */
  now(): number;
  log(line: string): void;
};
