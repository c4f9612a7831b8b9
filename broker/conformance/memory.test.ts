// The in-memory driver passes the conformance suite.
import type { Broker } from '../broker.ts';
import { createMemoryBackplane, createMemoryBroker } from '../memory/memory-broker.ts';
import { describeBrokerConformance } from './broker-conformance.ts';
import { createManualClock } from './harness.ts';

describeBrokerConformance('memory driver', {
  windows: 'injected clock',
  openCluster() {
    const clock = createManualClock();
    const backplane = createMemoryBackplane({ clock });
    const brokers: Broker[] = [];
    return Promise.resolve({
      clock,
      createBroker(node, options = {}) {
        const broker = createMemoryBroker({ backplane, node, ...options });
        brokers.push(broker);
        return broker;
      },
      async [Symbol.asyncDispose]() {
        for (const broker of brokers) await broker.close();
      },
    });
  },
});
