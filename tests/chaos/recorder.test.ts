// The judge itself: a true record passes, and each way to break a promise is caught.
import { describe, expect, it } from 'vitest';
import { type ChannelEvidence, checkChannel, type RecordedEvent, type ViolationKind } from './recorder.ts';

const start = (offset: number, epoch = 'a'): RecordedEvent => ({ kind: 'start', position: { epoch, offset } });
const message = (offset: number, messageId = `m${offset}`): RecordedEvent => ({
  kind: 'message',
  offset,
  messageId,
  content: `{"of":"${messageId}"}`,
});
const gap = (from: number, to: number, count = to - from + 1): RecordedEvent => ({
  kind: 'gap',
  from,
  to,
  count,
  reason: 'expired',
});
const newEpoch = (epoch: string, offset = 0): RecordedEvent => ({ kind: 'epoch', position: { epoch, offset } });
const ids = (...offsets: number[]): Set<string> => new Set(offsets.map((offset) => `m${offset}`));

/** Messages 1 to 5 were published and acknowledged; history still holds 4 and 5. */
const evidence = (events: readonly RecordedEvent[], changes: Partial<ChannelEvidence> = {}): ChannelEvidence => ({
  recordings: [{ client: 'c1', events }],
  acknowledged: [1, 2, 3, 4, 5].map((offset) => ({ epoch: 'a', offset, messageId: `m${offset}` })),
  attempted: ids(1, 2, 3, 4, 5),
  head: { epoch: 'a', offset: 5 },
  log: [4, 5].map((offset) => ({ offset, messageId: `m${offset}` })),
  ...changes,
});
const kinds = (events: readonly RecordedEvent[], changes?: Partial<ChannelEvidence>): ViolationKind[] =>
  checkChannel(evidence(events, changes)).map(({ kind }) => kind);

describe('a true record passes', () => {
  it.each<[string, RecordedEvent[]]>([
    ['every message', [start(0), message(1), message(2), message(3), message(4), message(5)]],
    ['from a later start', [start(3), message(4), message(5)]],
    ['from the head on', [start(5)]],
    ['a receipt for what expired', [start(0), message(1), gap(2, 3), message(4), message(5)]],
    ['a change of epoch', [start(7, 'old'), message(8, 'm1'), newEpoch('a', 3), message(4), message(5)]],
  ])('%s', (_, events) => {
    expect(checkChannel(evidence(events))).toEqual([]);
  });

  it('a messageId that came once in each of two epochs', () => {
    const acknowledged = [{ epoch: 'old', offset: 9, messageId: 'm4' }];
    expect(
      kinds([start(8, 'old'), message(9, 'm4'), newEpoch('a', 3), message(4), message(5)], { acknowledged }),
    ).toEqual([]);
  });
});

describe('a broken promise is caught', () => {
  const full = [start(0), message(1), message(2), message(3), message(4), message(5)];
  it.each<[string, ViolationKind[], RecordedEvent[]]>([
    ['a message left out', ['hole'], [start(0), message(1), message(2), message(4), message(5)]],
    ['a hole before the first message', ['hole'], [start(0), message(2), message(3), message(4), message(5)]],
    ['a hole before a receipt', ['hole'], [start(0), message(1), gap(3, 3), message(4), message(5)]],
    ['a message twice', ['duplicate'], [...full, message(5)]],
    ['messages in the wrong order', ['hole', 'overlap'], [start(2), message(4), message(3), message(5)]],
    ['a message below the start', ['overlap'], [start(3), message(3), message(4), message(5)]],
    [
      'a receipt over a delivered message',
      ['overlap'],
      [start(0), message(1), message(2), gap(2, 3), ...full.slice(4)],
    ],
    ['a receipt that cannot count', ['bad-gap'], [start(0), gap(1, 3, 2), message(4), message(5)]],
    ['an epoch that begins again', ['overlap', 'duplicate'], [...full, newEpoch('a', 4), message(5)]],
    ['the end missing', ['short'], [start(0), message(1), message(2), message(3), message(4)]],
    ['an old epoch never left', ['short'], [start(5, 'old')]],
    ['a refusal of the position', ['refused'], [...full, { kind: 'refused', reason: '112' }]],
    ['a client never subscribed', ['no-start'], []],
    ['a message nobody published', ['phantom'], [start(9, 'old'), message(10, 'ghost'), newEpoch('a', 5)]],
    ['a receipt for what is still there', ['needless-gap'], [start(0), message(1), gap(2, 4), message(5)]],
  ])('%s', (_, expected, events) => {
    expect(kinds(events)).toEqual(expected);
  });

  it('other content on another client', () => {
    const other = full.map((event) =>
      event.kind === 'message' && event.offset === 2 ? { ...event, content: '{"of":"other"}' } : event,
    );
    const recordings = [
      { client: 'c1', events: full },
      { client: 'c2', events: other },
    ];
    expect(checkChannel(evidence([], { recordings }))).toMatchObject([{ kind: 'different-content', client: 'c2' }]);
  });

  it('an acknowledged publication beyond the head', () => {
    const acknowledged = [{ epoch: 'a', offset: 6, messageId: 'm6' }];
    expect(kinds(full, { acknowledged })).toEqual(['lost-acknowledged']);
  });

  it('an acknowledged publication whose offset another one has, for clients and in the log', () => {
    const acknowledged = [{ epoch: 'a', offset: 2, messageId: 'm9' }];
    expect(kinds(full, { acknowledged })).toEqual(['lost-acknowledged']);
    expect(kinds([start(5)], { acknowledged: [{ epoch: 'a', offset: 4, messageId: 'm9' }] })).toEqual([
      'lost-acknowledged',
    ]);
  });

  it('an acknowledged publication that the log left out', () => {
    expect(kinds([start(5)], { log: [3, 5].map((offset) => ({ offset, messageId: `m${offset}` })) })).toEqual([
      'lost-acknowledged',
    ]);
  });

  it('a retry that became a second publication, delivered or only acknowledged', () => {
    const log = [5].map((offset) => ({ offset, messageId: `m${offset}` }));
    const twice = [start(0), message(1), message(2), message(3), message(4, 'm3'), message(5)];
    const acknowledged = [{ epoch: 'a', offset: 3, messageId: 'm3' }];
    expect(kinds(twice, { acknowledged, log })).toEqual(['repeated-message']);
    const answers = [3, 2].map((offset) => ({ epoch: 'a', offset, messageId: 'm3' }));
    expect(kinds([start(5)], { acknowledged: answers, log })).toEqual(['repeated-message']);
  });
});
