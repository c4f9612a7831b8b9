// Row "Access": who is let in, and whether the keys to tell are there.
import type { RowDefinition } from '../../panels.ts';
import { sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const access: RowDefinition = {
  title: 'Access',
  panels: [
    {
      kind: 'stacked',
      title: 'Tokens presented',
      description:
        'By outcome. Known: verified before, which costs next to nothing. Expired comes with clients that slept; invalid with a wrong key, audience or a client that tries.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_tokens_total'), 'outcome'), legend: '{{outcome}}' }],
    },
    {
      kind: 'lines',
      title: 'Tokens waiting',
      description: 'Signatures are checked for 2 ms per turn of the event loop; the rest of a storm waits here.',
      unit: 'short',
      queries: [{ expr: q.value('weir_tokens_waiting'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Revocations',
      description: 'Known by node. All nodes know the same within about a second.',
      unit: 'short',
      queries: [{ expr: q.value('weir_revocations'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Keys of the token issuer',
      description: 'Known by node. Nodes that differ for longer than jwksMaxAgeMs cannot reach the issuer.',
      unit: 'short',
      queries: [{ expr: q.value('weir_token_keys'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Requests for issuer keys',
      description: 'Failed ones leave the last good set in use.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_token_key_fetches_total'), 'outcome'), legend: '{{outcome}}' }],
    },
    {
      kind: 'lines',
      title: 'API keys',
      description: 'Known by node. Nodes that differ for longer than twice credentialsReloadMs have different files.',
      unit: 'short',
      queries: [{ expr: q.value('weir_api_keys'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Credential files read again',
      description: 'Refused ones cannot be used and leave what the node has; its log (credentials_refused) says why.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_credential_reloads_total'), 'outcome'), legend: '{{outcome}}' }],
    },
  ],
};
