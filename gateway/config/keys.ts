// Every configuration key of a node: the single source of names, types, defaults, bounds, documents and redaction.
import type { ApiKeyEntry } from '../access/api-key-entries.ts';
import { isNetwork } from '../access/client-address.ts';
import { DEVELOPMENT_HOSTS, isHostPattern } from '../access/host.ts';
import { DEVELOPMENT_ORIGINS, isOriginPattern } from '../access/origin.ts';
import {
  apiKeyList,
  byteRate,
  bytes,
  choice,
  duration,
  flag,
  integer,
  list,
  none,
  rate,
  text,
  value,
  type ValuesOf,
} from './key-spec.ts';
import { CONNECT_DEADLINE_MS, MAX_DRAIN_TIMEOUT_MS } from '../../protocol/limits.ts';
import { PING_INTERVAL_MS, PING_STRETCH, STALL_MS } from '../transports/heartbeat.ts';
import { hookKeys } from './hook-keys.ts';
import { tokenKeys } from './token-keys.ts';
import { isRedisUrl } from './urls.ts';

/** Default of `admissionPerSecond`, also assumed of a node that announces none. */
export const DEFAULT_ADMISSION_PER_SECOND = 1000;

const KiB = 1024;
const MiB = 1024 * KiB;
const TiB = 1024 * 1024 * MiB;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const KEY_TO_CLUSTER = 'counted over all nodes, on each node alone while Redis is away';

const matching =
  (pattern: RegExp) =>
  (candidate: string): boolean =>
    pattern.test(candidate);

export const configKeys = {
  profile: choice(['development', 'production'], {
    default: value('production'),
    description:
      'Which defaults apply. `development` allows anonymous clients, generates an API key and a token secret and prints them, serves the console, binds to localhost.',
  }),
  host: text('a host name or IP address', matching(/^[A-Za-z0-9_.:-]{1,253}$/), {
    default: { kind: 'profile', development: '127.0.0.1', production: '0.0.0.0' },
    description: 'Address the listeners bind to.',
  }),
  port: integer(0, 65_535, { default: value(8080), description: 'Port for clients (0: any free one).' }),
  internalPort: integer(0, 65_535, {
    default: none('all on one port'),
    description: 'Second port for `/metrics`, `/health` and the `/v1` server API.',
  }),
  advertiseAddress: text('an IP address, or a network such as 10.0.0.0/8', isNetwork, {
    default: none('the address the node listens on, else the first one other machines see'),
    description:
      'Address by which balancers reach this node, as announced in Redis. With a network the node takes its own address in it.',
  }),
  agentCheckPort: integer(0, 65_535, {
    default: none('off'),
    description:
      "Port that answers HAProxy's agent-check with weight and state; keep it off the public network (0: any free one).",
  }),
  nodeName: text('1–100 characters of A-Za-z0-9_.-', matching(/^[A-Za-z0-9_.-]{1,100}$/), {
    default: {
      kind: 'computed',
      text: 'host name, `-` and 4 random characters',
      compute: ({ hostname, randomId }) =>
        `${hostname.replace(/[^A-Za-z0-9_.-]/g, '-').slice(0, 90) || 'node'}-${randomId(4)}`,
    },
    description: 'Name of the node in logs, metrics and `connected.node`; unique in the cluster.',
  }),
  broker: choice(['memory', 'redis'], {
    default: value('memory'),
    description: 'Where publications go: `memory` serves one node on its own, `redis` a cluster.',
  }),
  redisUrl: text(
    'redis://host[:port][/db], rediss://…, redis+sentinel://host,host/name or redis+cluster://host,host',
    isRedisUrl,
    {
      default: value('redis://127.0.0.1:6379'),
      secret: 'url',
      description:
        'The Redis of the cluster (with `broker` `redis`). With Sentinels, name all of them and the master; of a cluster, name some nodes, the others are found. Nodes must reach the addresses that Sentinels or cluster announce; TLS is for single servers only.',
    },
  ),
  redisPrefix: text('1–64 characters of A-Za-z0-9_.:-', matching(/^[A-Za-z0-9_.:-]{1,64}$/), {
    default: value('weir'),
    description: 'Start of every key and channel in Redis; nodes with the same prefix are one cluster.',
  }),
  redisMinReplicas: integer(0, 100, {
    default: value(0),
    description:
      'Replicas of the Redis master that must have a publication before it is answered with success (`WAIT`), so that it survives the master; 0 waits for none. While too few replicas answer, publishes fail with error 114 after at most two fifths of `publishTimeoutMs` (1.5 s at most).',
  }),
  apiKeys: apiKeyList({
    default: {
      kind: 'computed',
      text: 'none; in development one is generated',
      compute: (): readonly ApiKeyEntry[] => [],
    },
    secret: 'yes',
    description:
      'Keys of the server API. Without scopes a key has all of them. In a file one may stand on each line; a changed file is read again (`credentialsReloadMs`).',
  }),
  credentialsReloadMs: duration(0, HOUR_MS, {
    default: value(5000),
    description:
      'How often the files of `apiKeys` (`WEIR_API_KEYS_FILE`) and `jwtPublicKeyFile` are looked at; what changed and was found twice alike is taken without a restart when it passes every check of a start (0: only on SIGHUP, which reads them at once, and `apiKeys` of the configuration file too).',
  }),
  apiKeyMaxFailures: integer(1, 1_000_000, {
    default: value(30),
    description:
      'Unknown API keys that one address (IPv6: one /64) may present per `apiKeyFailureWindowMs`; more are answered 429. Keys used from there before keep working.',
  }),
  apiKeyFailureWindowMs: duration(1000, 24 * HOUR_MS, {
    default: value(MINUTE_MS),
    description: 'Time in which the attempts of `apiKeyMaxFailures` come back, evenly.',
  }),
  ...tokenKeys,
  allowedOrigins: list('origins such as https://*.example.com or http://localhost:*, or *', isOriginPattern, {
    default: { kind: 'profile', development: DEVELOPMENT_ORIGINS, production: [] },
    description:
      'Pages whose browsers may connect; none refuses every browser. `*` stands for characters inside one label or for any port, alone for any origin.',
  }),
  allowedHosts: list('host names or addresses without port, or *', isHostPattern, {
    default: { kind: 'profile', development: DEVELOPMENT_HOSTS, production: ['*'] },
    description:
      'Names in the `Host` header that the node answers for, on any port; others get 403, so that no web page can reach a development node through a name of its own. `*` stands for characters inside one label, alone for any name. Health is answered for every name.',
  }),
  tlsCertFile: text('a path to a certificate chain in PEM form', () => true, {
    default: none('no TLS: HAProxy ends it'),
    description:
      'Certificate chain of the node; with `tlsKeyFile` it serves `port` by TLS 1.2 and 1.3. The second listener, `internalPort`, stays plain: it belongs on a private network.',
  }),
  tlsKeyFile: text('a path to a private key in PEM form', () => true, {
    default: none('none'),
    description: 'Private key of `tlsCertFile`.',
  }),
  tlsKeyPassphrase: text('text of 1–4096 characters', () => true, {
    default: none('none'),
    secret: 'yes',
    description: 'Passphrase of `tlsKeyFile`, if it has one.',
  }),
  anonymous: flag({
    default: { kind: 'profile', development: true, production: false },
    description: 'Whether a connection without token is accepted.',
  }),
  trustedProxies: list('IP addresses or networks such as 10.0.0.0/8', isNetwork, {
    default: value([]),
    description: 'Addresses of proxies whose `X-Real-IP` is believed.',
  }),
  memoryBudgetBytes: bytes(MiB, TiB, {
    default: {
      kind: 'computed',
      text: "half of the container's or machine's memory",
      compute: ({ memoryLimitBytes }) => Math.min(TiB, Math.max(MiB, Math.floor(memoryLimitBytes / 2))),
    },
    description:
      'Budget for the sum of outboxes, channel logs, requests, pages of history, waiting ephemeral messages and what may arrive in pieces. When it is used up, channel logs shrink, then the connections that owe most are parked, then closed with 3008; requests are refused meanwhile.',
  }),
  maxConnections: integer(1, 10_000_000, {
    default: value(50_000),
    description:
      'Connections the node accepts at once. While 1.25 × `maxFrameBytes` of each fit into half of `memoryBudgetBytes`, unfinished messages cannot take more than the budget; the node says so when they do not.',
  }),
  strictMemoryBudget: flag({
    default: value(false),
    description:
      'Refuses connections (503) whose unfinished message the memory budget would not cover, instead of relying on clients to finish theirs.',
  }),
  maxHttpSockets: integer(1, 10_000_000, {
    default: value(10_000),
    description:
      'TCP connections without WebSocket: requests, and handshakes that are not complete. One more on `port` is cut (those on `internalPort` never are); each may hold 16 KiB of an unfinished head.',
  }),
  admissionPerSecond: integer(1, 1_000_000, {
    default: value(DEFAULT_ADMISSION_PER_SECOND),
    description:
      'Clients the node lets in per second. More of them wait, those that resume first, then those with a token; others are told when to come back (close 1013). Announced to the other nodes: what drains or rebalances sends clients no faster than those who take them admit.',
  }),
  admissionDeadlineMs: duration(10, MINUTE_MS, {
    default: value(2000),
    description: 'Longest wait of a client to be let in; with `admissionPerSecond` it bounds how many wait.',
  }),
  maxHandshakes: integer(1, 10_000_000, {
    default: value(10_000),
    description: 'Open connections that are not let in yet, silent ones included; one more is refused with 503.',
  }),
  maxUserConnections: integer(1, 10_000_000, {
    default: value(1000),
    description: `Connections of one user, ${KEY_TO_CLUSTER}; one more is closed with 3504.`,
  }),
  maxIpConnections: integer(1, 10_000_000, {
    default: value(10_000),
    description: `Connections of one client address (IPv6: one /64 network; loopback is not counted), ${KEY_TO_CLUSTER}; one more is closed with 3504.`,
  }),
  maxCommandRate: rate({
    default: value({ count: 4000, perMs: 10_000 }),
    description: 'Commands of one connection (an `ack` counts a tenth); beyond it error 111.',
  }),
  maxPublishRate: rate({
    default: value({ count: 2000, perMs: 10_000 }),
    description: 'Publishes of one connection; beyond it error 111.',
  }),
  maxByteRate: byteRate({
    default: value({ count: 16 * MiB, perMs: 10_000 }),
    description: 'Bytes in frames of one connection; commands of a frame beyond it get error 111.',
  }),
  maxRefusalRate: rate({
    default: value({ count: 5000, perMs: 10_000 }),
    description:
      'Commands of one connection that may be refused for these limits; one that goes on beyond it is closed with 3013, or with 3505 when it asks for subscriptions.',
  }),
  maxUserPublishRate: rate({
    default: value({ count: 10_000, perMs: 10_000 }),
    description: `Publishes of one user with all its connections, ${KEY_TO_CLUSTER}, in windows of the time named; beyond it error 111.`,
  }),
  maxIpPublishRate: rate({
    default: value({ count: 50_000, perMs: 10_000 }),
    description: 'Publishes of all connections of one client address, counted as `maxUserPublishRate`.',
  }),
  maxApiKeyPublishRate: rate({
    default: none('not limited'),
    description: 'Publications by HTTP with one API key on this node; a request beyond it is answered 429.',
  }),
  limitLeaseMs: duration(300, 10 * MINUTE_MS, {
    default: value(15_000),
    description: 'How long connections of a killed node count against the limits per user and address.',
  }),
  maxFrameBytes: bytes(KiB, 16 * MiB, {
    default: value(64 * KiB),
    description: 'Largest frame a client may send; a larger one closes the connection with 1009.',
  }),
  maxBodyBytes: bytes(KiB, 256 * MiB, {
    default: value(MiB),
    description: 'Largest body of an HTTP request; a larger one is answered 413.',
  }),
  maxSubscriptions: integer(1, 1_000_000, {
    default: value(1000),
    description: 'Subscriptions one connection may hold; one more is error 106.',
  }),
  maxUserSubscriptions: integer(1, 100_000_000, {
    default: value(100_000),
    description: 'Subscriptions of one user with all its connections to this node; one more is error 106.',
  }),
  maxOutboxBytes: bytes(64 * KiB, 1024 * MiB, {
    default: value(MiB),
    description:
      'Bytes of replies buffered for one socket; a client that asks on without reading beyond them is closed with 3008. Messages stop earlier: from 32 KiB on they wait as a cursor.',
  }),
  maxRingBytes: bytes(0, 1024 * MiB, {
    default: value(128 * KiB),
    description:
      'Bytes of recent publications that a node keeps per channel for slow sockets and reconnecting clients, for up to 30 s; all channels together keep at most half of `memoryBudgetBytes`.',
  }),
  maxHistorySize: integer(0, 100_000_000, {
    default: value(100_000),
    description: 'Upper bound for the history size of a namespace, publications.',
  }),
  pingIntervalMs: duration(PING_INTERVAL_MS.min, PING_INTERVAL_MS.max, {
    default: value(25_000),
    description:
      'Longest silence of a client before it is pinged. One from which nothing is heard for half as long again is closed with 3012.',
  }),
  pingMaxStretch: integer(PING_STRETCH.min, PING_STRETCH.max, {
    default: value(2),
    description:
      'A client that answers pings at once, again and again, is pinged more rarely: its interval grows up to this many times `pingIntervalMs`. 1 turns it off.',
  }),
  maxStallMs: duration(STALL_MS.min, STALL_MS.max, {
    default: value(600_000),
    description:
      'How long a client that takes no bytes from its socket, or has far too many waiting before the ping, may stay silent; close 3012 after it.',
  }),
  connectDeadlineMs: duration(100, 10 * MINUTE_MS, {
    default: value(CONNECT_DEADLINE_MS),
    description: 'Time a client has to send `connect`; close 3502 after it.',
  }),
  sessionTtlMs: duration(0, 24 * HOUR_MS, {
    default: value(120_000),
    description:
      'How long after its connection a session can be continued with its subscriptions, on any node. 0 turns sessions off.',
  }),
  coalesceMaxMs: duration(0, 1000, {
    default: value(20),
    description:
      'Longest wait for further messages before a flush, used only when the node is busy or a single flush is expensive (see `coalesceMs`).',
  }),
  coalesceMs: duration(0, 1000, {
    default: none('as long as the load asks for'),
    description:
      'Fixed wait for further messages before a flush, instead of one that follows the load (0: never wait). A namespace may set its own (`coalesce`).',
  }),
  overloadLagMs: duration(0, MINUTE_MS, {
    default: value(50),
    description:
      'Mean delay of the event loop from which the node is overloaded. Of this and the next four: 0 turns the signal off.',
  }),
  overloadCpuPercent: integer(0, 100, {
    default: value(97),
    description:
      'Share of the time in which the event loop had work, catch-up apart, from which the node is overloaded.',
  }),
  overloadRssBytes: bytes(0, TiB, {
    default: {
      kind: 'computed',
      text: "90 % of the container's or machine's memory",
      compute: ({ memoryLimitBytes }) => Math.min(TiB, Math.floor(memoryLimitBytes * 0.9)),
    },
    description: 'Resident memory from which the node is overloaded.',
  }),
  overloadBufferedPercent: integer(0, 1000, {
    default: value(90),
    description:
      'Share of `memoryBudgetBytes` held for clients (outboxes, requests, pages; channel logs apart) from which the node is overloaded. It alone goes no further than refusing new connections.',
  }),
  overloadBrokerMs: duration(0, 10 * MINUTE_MS, {
    default: value(1000),
    description: 'Mean time the broker takes to confirm publications from which the node is overloaded.',
  }),
  overloadPublishMs: duration(0, 10 * MINUTE_MS, {
    default: value(100),
    description:
      'What a publication may take beyond what the broker takes by itself. When they take longer because the loop is busy, so many may be under way as the node completes in this time; further ones are refused. 0: however long they like.',
  }),
  overloadStepMs: duration(0, HOUR_MS, {
    default: value(250),
    description: 'Time a signal is over its threshold before the next rung of the overload ladder engages.',
  }),
  overloadReleaseMs: duration(0, HOUR_MS, {
    default: value(2000),
    description:
      'Time all signals are below 80 % of their thresholds before the highest rung is released; doubled, up to 16 times, for a rung that keeps coming back.',
  }),
  overloadCoalesceMs: duration(0, 1000, {
    default: value(60),
    description: 'Wait for further messages before a flush while the rung `coalesce_longer` is engaged.',
  }),
  overloadEphemeralMs: duration(0, MINUTE_MS, {
    default: value(200),
    description:
      'Time between two hand-overs of one ephemeral channel while the rung `thin_ephemeral` is engaged; of what came meanwhile the newest of each `key` is sent. 0 thins nothing.',
  }),
  overloadIdleMs: duration(0, HOUR_MS, {
    default: value(30_000),
    description:
      'How long a connection without subscriptions has sent nothing before the rung `move_idle` asks it to leave.',
  }),
  publishTimeoutMs: duration(1, 10 * MINUTE_MS, {
    default: value(2000),
    description: 'Longest wait for the broker to confirm a publication; error 114 after it.',
  }),
  deafMoveAfterMs: duration(0, HOUR_MS, {
    default: value(5000),
    description:
      'Time a node may be deaf (publications are acknowledged and do not arrive) before it sends its clients to other nodes, if another one is ready.',
  }),
  drainTimeoutMs: duration(0, MAX_DRAIN_TIMEOUT_MS, {
    default: value(30_000),
    description:
      'Time from SIGTERM or `POST /v1/drain` until the process has ended; connections that are still open are cut.',
  }),
  drainNoticeMs: duration(0, 10 * MINUTE_MS, {
    default: { kind: 'profile', development: 0, production: 2000 },
    description:
      'Time between readiness turning 404 and the first client asked to move, so that the load balancer has noticed: at least two of its health checks. Used when another node is ready.',
  }),
  moveTimeoutMs: duration(100, 10 * MINUTE_MS, {
    default: value(5000),
    description:
      'Time a client that is asked to move has for it, from its own earliest moment on. Beyond it a draining node closes with 1012, one past its `maxAgeMs` with 3000.',
  }),
  maxAgeMs: duration(0, 365 * 24 * HOUR_MS, {
    default: value(24 * HOUR_MS),
    description:
      'Age at which a connection is asked to move to a new one, 10 % more or less for each, so that they do not come together. One that does not is closed with 3000. 0 turns it off.',
  }),
  rebalance: flag({
    default: value(true),
    description:
      'Whether a node with clearly more connections than the mean of all ready nodes asks its surplus to move, as after a node joined. Nobody is closed for staying.',
  }),
  movesPerSecond: integer(1, 100_000, {
    default: value(100),
    description: 'Connections a second this node asks to move for their age, and as many to rebalance.',
  }),
  requestTimeoutMs: duration(100, 10 * MINUTE_MS, {
    default: value(10_000),
    description: 'Time the body of an HTTP request has to arrive.',
  }),
  controlTimeoutMs: duration(1, MINUTE_MS, {
    default: value(500),
    description: 'Longest wait for the other nodes when a question goes to the whole cluster.',
  }),
  allowWeakSecrets: flag({
    default: value(false),
    description: 'Lets production start with generated development secrets, placeholders and short secrets.',
  }),
  allowAnonymousPublish: flag({
    default: value(false),
    description: 'Lets production start although clients without token may publish in some namespace.',
  }),
  allowAnyOrigin: flag({
    default: value(false),
    description: 'Lets production start although `allowedOrigins` lets the pages of any site connect.',
  }),
  conformanceEcho: flag({
    default: value(false),
    description:
      'Serves `/v1/echo`, which sends every WebSocket message back without asking for rights: for conformance suites such as Autobahn only.',
  }),
  ...hookKeys,
  logLevel: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: value('info'),
    description: 'Least severe level that is logged.',
  }),
  logFormat: choice(['json', 'pretty'], {
    default: { kind: 'profile', development: 'pretty', production: 'json' },
    description: 'One JSON object per line, or lines for people.',
  }),
} as const;

type ConfigKeys = typeof configKeys;
export type ConfigKey = keyof ConfigKeys;
export type ConfigValues = ValuesOf<ConfigKeys>;
