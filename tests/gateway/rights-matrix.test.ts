// The table of rights through a real node: what every command may do is what the one decision function says, in every combination.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AUDIENCES, type Audience, decide, type NamespaceRights, type Who } from '../../gateway/access/rights.ts';
import { grantOf } from '../../gateway/access/test-grant.ts';
import {
  signToken,
  type TemporaryDirectory,
  temporaryDirectory,
  TOKEN_SECRET,
  type WsClient,
} from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

/** Verbs that a command of this version asks for. */
const VERBS = ['subscribe', 'publish', 'history'] as const;
type AskedVerb = (typeof VERBS)[number];
/** `subscribers` is refused for `subscribe` when the node starts. */
const audiencesOf = (verb: AskedVerb): readonly Audience[] =>
  verb === 'subscribe' ? AUDIENCES.filter((audience) => audience !== 'subscribers') : AUDIENCES;
const SETTING = { subscribe: 'subscribe', publish: 'publish', history: 'historyAccess' } as const;
const namespaceOf = (verb: AskedVerb, audience: Audience): string => `${verb}-${audience}`;

/** What the token says of the verb; `anonymous` has none. `{user}` is ada. */
const LISTS: Readonly<Record<string, readonly string[] | null | undefined>> = {
  anonymous: undefined,
  absent: null,
  everything: ['*'],
  namespace: ['{ns}:*'],
  channel: ['{ns}:of-ada'],
  user: ['{ns}:of-{user}'],
  'another channel': ['{ns}:of-adam', 'of-ada', '{ns}x:*'],
  empty: [],
};

let gateway: GatewayUnderTest;
let folder: TemporaryDirectory;
beforeAll(async () => {
  folder = await temporaryDirectory('rights');
  const file = join(folder.path, 'weir.yaml');
  const closed = 'subscribe: nobody, publish: nobody, historyAccess: nobody';
  const namespaces = VERBS.flatMap((verb) =>
    audiencesOf(verb).map((audience) => {
      const rights = closed.replace(`${SETTING[verb]}: nobody`, `${SETTING[verb]}: ${audience}`);
      return `  ${namespaceOf(verb, audience)}: { ${rights} }`;
    }),
  );
  writeFileSync(file, ['namespaces:', `  default: { ${closed} }`, ...namespaces].join('\n'));
  gateway = await startGatewayUnderTest({ WEIR_CONFIG: file, WEIR_JWT_SECRET: TOKEN_SECRET });
});
afterAll(async () => {
  await gateway.stop();
  await folder.remove();
});

const combinations = VERBS.flatMap((verb) =>
  audiencesOf(verb).flatMap((audience) =>
    Object.keys(LISTS).flatMap((list) =>
      (verb === 'subscribe' ? [false] : [false, true]).map((subscribed) => ({ verb, audience, list, subscribed })),
    ),
  ),
);

const FIELDS: Readonly<Record<AskedVerb, Readonly<Record<string, unknown>>>> = {
  subscribe: {},
  publish: { data: 1 },
  history: { since: 'earliest' },
};

describe('what a command may do', () => {
  it('is asked in every combination', () => {
    expect(combinations).toHaveLength(8 * (3 + 2 * 4 + 2 * 4));
  });

  it.each(combinations)(
    '$verb where the namespace allows $audience and the list is $list (subscribed: $subscribed)',
    async ({ verb, audience, list, subscribed }) => {
      const namespace = namespaceOf(verb, audience);
      const channel = `${namespace}:of-ada`;
      const patterns = LISTS[list]?.map((pattern) => pattern.replace('{ns}', namespace));
      const isAnonymous = LISTS[list] === undefined;
      const token = signToken({ sub: 'ada', ...(patterns !== undefined && { weir: { [verb]: patterns } }) });
      const client: WsClient = await gateway.connect({ connect: isAnonymous ? {} : { token } });
      if (subscribed) {
        // By the application: whatever the rights of the client are.
        const connection = client.connected?.['connection'];
        const answer = await gateway.api('/v1/subscribe', { body: { connection, channel } });
        expect(answer.body).toEqual({ affected: 1 });
      }
      const grants = patterns === undefined ? {} : { grants: { [verb]: grantOf(patterns, 'ada') } };
      const who: Who = isAnonymous ? { kind: 'anonymous' } : { kind: 'user', user: 'ada', ...grants };
      const closed: NamespaceRights = {
        subscribe: 'nobody',
        publish: 'nobody',
        membersAccess: 'nobody',
        historyAccess: 'nobody',
      };
      const decision = decide(verb, who, channel, () => ({ ...closed, [SETTING[verb]]: audience }), { subscribed });

      const reply = await client.command(verb, { channel, ...FIELDS[verb] });
      if (decision === 'granted') expect(reply.type).not.toBe('error');
      else expect(reply).toMatchObject({ type: 'error', code: 103 });
      await client.close();
    },
  );

  it('a start in the past needs the right to history beside that to subscribe', async () => {
    const token = (weir: unknown): string => signToken({ sub: 'ada', weir });
    const channel = 'default-channel';
    const narrow = await gateway.connect({ connect: { token: token({ subscribe: ['*'], history: [] }) } });
    for (const since of ['earliest', { last: 1 }]) {
      expect(await narrow.command('subscribe', { channel, since })).toMatchObject({ type: 'error', code: 103 });
    }
    expect(await narrow.command('subscribe', { channel })).toMatchObject({ type: 'subscribed' });
    const wide = await gateway.connect({ connect: { token: token({ subscribe: ['*'], history: ['*'] }) } });
    expect(await wide.command('subscribe', { channel, since: 'earliest' })).toMatchObject({ type: 'subscribed' });
  });
});
