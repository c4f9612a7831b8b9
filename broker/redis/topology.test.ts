// What members of a deployment say is read whole, and of several claims the newest counts.
import { expect, test } from 'vitest';
import { parseClusterNodes } from './cluster-view.ts';
import { PARTITIONS } from './partition.ts';
import { parseSentinelMaster } from './sentinel-view.ts';
import { newestClaims } from './topology.ts';

const urlOf = (host: string, port: number): string => `${host === '' ? 'asked' : host}:${port}`;

test('the owners in CLUSTER NODES are its masters by slots, and failed nodes own nothing', () => {
  const { claims, members } = parseClusterNodes(
    [
      'aaa 10.0.0.1:7000@17000,name-a myself,master - 0 0 7 connected 0-5460 [5461->-bbb] [93-<-ccc]',
      'bbb :7001@17001 master - 0 0 3 connected 5461 5462-10922',
      'ccc ::1:7002@17002 master,fail - 0 0 9 connected 10923-16383',
      'ddd 10.0.0.4:7003@17003 slave aaa 0 0 7 connected',
      '',
    ].join('\n'),
    urlOf,
  );
  expect(claims).toHaveLength(PARTITIONS);
  expect(claims[0]).toEqual({ url: '10.0.0.1:7000', epoch: 7 });
  expect(claims[64]).toEqual({ url: 'asked:7001', epoch: 3 });
  expect(claims[127]).toBeUndefined();
  expect(members).toEqual(['10.0.0.1:7000', 'asked:7001', '10.0.0.4:7003']);
});

test('a Sentinel names one owner for every partition', () => {
  const { claims } = parseSentinelMaster(['name', 'm', 'ip', '::1', 'port', '6379', 'config-epoch', '4'], urlOf);
  expect(new Set(claims)).toEqual(new Set([{ url: '::1:6379', epoch: 4 }]));
  expect(() => parseSentinelMaster([], urlOf)).toThrow('names no master');
});

test('the claim with the highest epoch counts, whoever is heard first', () => {
  const [old, fresh] = [
    { url: 'old', epoch: 1 },
    { url: 'new', epoch: 2 },
  ];
  expect(
    newestClaims(
      [
        [old, undefined],
        [fresh, old],
      ],
      2,
    ),
  ).toEqual([fresh, old]);
  expect(newestClaims([[fresh], [old]], 2)).toEqual([fresh, undefined]);
});
