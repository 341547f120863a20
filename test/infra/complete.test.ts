import { describe } from 'vitest';
import { aboutAlarms } from './complete/alarms.ts';
import { applied, reason } from './complete/applied.ts';
import { aboutApplyPermissions } from './complete/apply-permissions.ts';
import { aboutEvents } from './complete/events.ts';
import { aboutFunctions } from './complete/functions.ts';
import { aboutImmutability } from './complete/immutability.ts';
import { aboutOutputs } from './complete/outputs.ts';
import { aboutPermissions } from './complete/permissions.ts';
import { aboutRunners } from './complete/runners.ts';
import { aboutScanners } from './complete/scanners.ts';
import { aboutStorage } from './complete/storage.ts';

// One apply for all tests of the complete example.
describe.skipIf(reason !== undefined)('the complete example, applied', () => {
  const made = applied();
  aboutFunctions(made);
  aboutEvents(made);
  aboutPermissions(made);
  aboutApplyPermissions(made);
  aboutAlarms(made);
  aboutRunners(made);
  aboutStorage(made);
  aboutImmutability(made);
  aboutOutputs(made);
  // Last: it changes the configuration for a while.
  aboutScanners(made);
});
