import type { PagerDuty } from './pagerduty/receiver.ts';
import type { EmulatedService } from './service.ts';

/** The PagerDuty receiver behind the gateway, so that its calls are recorded and can be disturbed like all others. */
export function pagerDutyService(pagerDuty: PagerDuty): EmulatedService {
  return {
    name: 'pagerduty',
    serves: () => true,
    handle: async (request) => pagerDuty.handle(request),
  };
}
