// `weir key`: makes an API key, and the form of it that a node is configured with.
import { hash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { API_KEY_SCOPES, parseApiKeys } from '../access/api-key-entries.ts';
import type { CliCommand } from './command.ts';

export const KEY_USAGE = `weir key <name> [--scopes <list>]         makes an API key; its secret is shown once

  --scopes <list>          out of ${API_KEY_SCOPES.join(', ')}, with commas (default: all)
`;

/** 256 bits. */
const SECRET_BYTES = 32;

export const keyCommand: CliCommand = (args, { random }) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { scopes: { type: 'string' } },
    allowPositionals: true,
  });
  const [name, ...rest] = positionals;
  if (name === undefined || rest.length > 0)
    throw new Error('expected one name for the key, for example: weir key backend');
  const secret = `weir_${random(SECRET_BYTES)}`;
  const scopes = values.scopes === undefined ? '' : `:${values.scopes.split(',').join('+')}`;
  const entry = `${name}=sha256:${hash('sha256', secret, 'hex')}${scopes}`;
  const [problem] = parseApiKeys(entry).problems;
  if (problem !== undefined) throw new Error(problem);
  return {
    stdout: `${secret}\n`,
    stderr: `
Above is the secret: give it to the backend, it is not shown again.
  curl -H 'X-API-Key: ${secret}' …

The nodes get its hash. Add this entry to WEIR_API_KEYS (commas between entries, so that old and new keys work side by side):
  ${entry}
`,
  };
};
