// The suite every driver of the broker contract passes.
import { describe } from 'vitest';
import { controlCases } from './control-cases.ts';
import { deliveryCases } from './delivery-cases.ts';
import { ephemeralCases } from './ephemeral-cases.ts';
import type { ConformanceHarness } from './harness.ts';
import { historyCases } from './history-cases.ts';
import { lifecycleCases } from './lifecycle-cases.ts';
import { limitCases } from './limit-cases.ts';
import { numberingCases } from './numbering-cases.ts';
import { revocationCases } from './revocation-cases.ts';
import { sessionCases } from './session-cases.ts';

export const describeBrokerConformance = (name: string, harness: ConformanceHarness): void => {
  describe(name, () => {
    numberingCases(harness);
    deliveryCases(harness);
    ephemeralCases(harness);
    historyCases(harness);
    controlCases(harness);
    sessionCases(harness);
    limitCases(harness);
    revocationCases(harness);
    lifecycleCases(harness);
  });
};
