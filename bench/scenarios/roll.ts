// Roll: every node is restarted in turn under clients of the SDK; what they lose, see twice, and how long they wait.
import { rollUnderLoad } from '../../loadbalancer/cluster/roll.ts';
import { clusterOf } from '../cluster/contest.ts';
import { type Measured, round, type Scenario } from '../scenario.ts';

const CLIENTS = 50;
const RATE = 500;

export const roll: Scenario = {
  name: 'roll',
  title: `Roll: rolling restart of all 3 nodes under ${CLIENTS} SDK clients and ${RATE} messages/s`,
  servers: ['weir-cluster'],
  figures: [
    { name: 'lost', unit: 'messages', better: 'lower', bar: { value: 0 } },
    { name: 'duplicates', unit: '', better: 'lower', bar: { value: 0 } },
    { name: 'largest gap', unit: 'ms', better: 'lower', bar: { value: 250 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const { depth, say } = measuring;
    const [clients, rate] = depth === 'quick' ? [20, 100] : [CLIENTS, RATE];
    const result = await rollUnderLoad({ cluster: clusterOf(measuring), clients, rate, say });
    return {
      rows: [
        {
          clients,
          published: result.published,
          lost: result.lost,
          'declared missing': result.declared,
          duplicates: result.duplicated,
          'lost connections': result.reconnects,
          'restart ms': result.restartsMs.map((ms) => round(ms)).join(', '),
          'largest gap before ms': round(result.steadyGapMs),
          'largest gap ms': round(result.largestGapMs),
        },
      ],
      figures: { lost: result.lost, duplicates: result.duplicated, 'largest gap': result.largestGapMs },
      runs: [],
    };
  },
};
