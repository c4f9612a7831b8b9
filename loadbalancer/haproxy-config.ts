// Renders the HAProxy configuration of a Weir cluster from typed options.
import {
  type BalanceProfile,
  CLIENT_BACKEND,
  checkHaproxyOptions,
  DEFAULT_PER_SOURCE,
  EMPTY_SLOT_ADDRESS,
  FULL_WEIGHT,
  type HaproxyOptions,
  type NodeSource,
  PUBLIC_PATHS,
  SERVER_BACKEND,
  SLOT_PREFIX,
} from './haproxy-options.ts';

export * from './haproxy-options.ts';

const DEFAULT_PING_INTERVAL_MS = 25_000;
const DEFAULT_SLOWSTART_MS = 15_000;
const DEFAULT_CHECK_INTERVAL_MS = 1_000;
const DEFAULT_HOLD_OBSOLETE_MS = 10_000;

const BALANCE_LINES: Record<BalanceProfile, string> = {
  leastconn: 'balance leastconn',
  roundrobin: 'balance roundrobin',
  random: 'balance random(2)',
  // Consistent, so that a node that comes or goes moves only its share of the addresses.
  source: 'balance source\n  hash-type consistent',
};

/** The whole configuration file, ending in a newline. Throws HaproxyOptionsError when an option cannot be rendered. */
export function renderHaproxyConfig(options: HaproxyOptions): string {
  checkHaproxyOptions(options);
  const sections = [
    globalSection(options),
    defaultsSection(options),
    resolversSection(options.nodes),
    publicFrontend(options),
    internalFrontend(options),
    statsFrontend(options),
    backend(CLIENT_BACKEND, options),
    backend(SERVER_BACKEND, options),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

function lines(title: string, body: readonly (string | false | undefined)[]): string {
  const kept = body.filter((line): line is string => typeof line === 'string');
  return [title, ...kept.map((line) => `  ${line}`)].join('\n');
}

function globalSection(options: HaproxyOptions): string {
  const buffer = options.socketBufferBytes;
  return lines('global', [
    'log stdout format raw daemon notice',
    `stats socket ${options.runtimeSocket} mode 600 level admin`,
    'stats timeout 30s',
    `maxconn ${options.maxConnections}`,
    options.threads !== undefined && `nbthread ${options.threads}`,
    'spread-checks 5',
    buffer !== undefined && `tune.sndbuf.client ${buffer}`,
    buffer !== undefined && `tune.rcvbuf.server ${buffer}`,
    ...(options.tls === undefined ? [] : TLS_GLOBAL),
  ]);
}

/** Mozilla's intermediate profile narrowed to TLS 1.2 with forward secrecy and TLS 1.3. */
const TLS_GLOBAL = [
  'ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384',
  'ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
  'ssl-default-bind-options prefer-client-ciphers ssl-min-ver TLSv1.2 no-tls-tickets',
];

function defaultsSection(options: HaproxyOptions): string {
  const pingMs = options.pingIntervalMs ?? DEFAULT_PING_INTERVAL_MS;
  return lines('defaults', [
    'mode http',
    'log global',
    'option dontlognull',
    // A waiting client that left frees its place in the queue.
    'option abortonclose',
    // Small chunks of event streams go out at once.
    'option http-no-delay',
    // A request whose connection to a node failed goes to another node; a request that was sent is never repeated.
    'option redispatch 1',
    'retries 2',
    'retry-on conn-failure',
    'timeout connect 2s',
    'timeout check 2s',
    'timeout queue 5s',
    // Slow request headers end here.
    'timeout http-request 10s',
    'timeout http-keep-alive 30s',
    // Event streams and long polls are silent for up to one ping interval; three are dead.
    `timeout client ${3 * pingMs}ms`,
    `timeout server ${3 * pingMs}ms`,
    // WebSockets: pings cross every interval, so silence this long means both ends are gone.
    `timeout tunnel ${5 * pingMs}ms`,
    // One end closed: do not keep the other half open for the whole tunnel timeout.
    'timeout client-fin 10s',
    'timeout server-fin 10s',
  ]);
}

function resolversSection(nodes: NodeSource): string {
  if (nodes.kind !== 'dns') return '';
  return lines('resolvers nodes', [
    nodes.nameserver === 'resolv.conf' ? 'parse-resolv-conf' : `nameserver dns1 ${nodes.nameserver}`,
    'accepted_payload_size 8192',
    'hold valid 1s',
    'timeout resolve 1s',
    'timeout retry 1s',
    'hold nx 1h',
    // One answer of a name server that is being restarted must not empty the backend.
    `hold obsolete ${nodes.holdObsoleteMs ?? DEFAULT_HOLD_OBSOLETE_MS}ms`,
    'hold timeout 1h',
    'hold refused 1h',
    'hold other 1h',
  ]);
}

/** What a node may believe: the address of the peer, and nothing a client wrote about it. */
const FORWARDED_HEADERS = [
  'http-request set-header X-Real-IP %[src]',
  'http-request del-header X-Forwarded-For',
  'http-request del-header Forwarded',
  'http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]',
  // The gateway's HTTP parser drops the connection on header names with an underscore.
  'http-request del-header _ -m sub',
];

/** Codes and names are those of the protocol's reply errors. */
function problem(status: number, code: number, name: string, detail: string): string {
  const body = JSON.stringify({ type: 'about:blank', title: name, status, code, name, detail });
  return `http-request return status ${status} content-type application/problem+json string '${body}' hdr Cache-Control no-store`;
}

function publicFrontend(options: HaproxyOptions): string {
  const limits = options.perSource ?? DEFAULT_PER_SOURCE;
  const tls = options.tls;
  const extra = options.extraPublicPaths ?? [];
  return lines('frontend public', [
    `bind ${options.publicBind} proto h1${tls === undefined ? '' : ` ssl crt ${tls.certificateFile} alpn http/1.1`}`,
    ...(limits === 'off'
      ? []
      : [
          'stick-table type ipv6 size 200k expire 1m store conn_cur,conn_rate(10s)',
          'tcp-request connection track-sc0 src',
          `${problem(429, 111, 'too_many_requests', 'too many connections from this address')} hdr Retry-After 10 ` +
            `if { sc0_conn_cur gt ${limits.maxConnections} } || { sc0_conn_rate gt ${limits.maxConnectionsPer10s} }`,
        ]),
    // The engine of the nodes takes the trailers of a chunked body for the next request, which would then have passed no rule here.
    `${problem(411, 107, 'bad_request', 'a body needs a Content-Length')} if { req.fhdr(transfer-encoding) -m found }`,
    // Also on answers made here, which `http-response` rules would not see.
    tls !== undefined && 'http-after-response set-header Strict-Transport-Security "max-age=63072000"',
    // Answered here: what a balancer in front of this one, or a probe, wants to know is whether any node can be reached.
    `http-request return status 200 content-type application/json string '{"status":"live"}' if { path /health/live }`,
    `http-request return status 200 content-type application/json string '{"status":"ready"}' if { path /health/ready } { nbsrv(${CLIENT_BACKEND}) gt 0 }`,
    `http-request return status 503 content-type application/json string '{"status":"no node is ready"}' if { path /health/ready }`,
    // Server API, metrics and console are not for the public: whatever is not named here does not exist.
    `acl public_path path ${PUBLIC_PATHS.join(' ')}`,
    extra.length > 0 && `acl public_path path_beg ${extra.join(' ')}`,
    extra.length > 0 &&
      `${problem(404, 108, 'not_available', 'no such path on the public listener')} if { path_sub -i .. %2e }`,
    `${problem(404, 108, 'not_available', 'no such path on the public listener')} unless public_path`,
    ...FORWARDED_HEADERS,
    `default_backend ${CLIENT_BACKEND}`,
  ]);
}

function internalFrontend(options: HaproxyOptions): string {
  return lines('frontend internal', [
    `bind ${options.internalBind}`,
    ...FORWARDED_HEADERS,
    // The console opens sockets here as well; they are balanced like those of clients.
    `use_backend ${CLIENT_BACKEND} if { path ${PUBLIC_PATHS.join(' ')} }`,
    `default_backend ${SERVER_BACKEND}`,
  ]);
}

function statsFrontend(options: HaproxyOptions): string {
  return lines('frontend operations', [
    `bind ${options.statsBind}`,
    'http-request use-service prometheus-exporter if { path /metrics }',
    'stats enable',
    'stats uri /',
    'stats refresh 5s',
    'stats show-legends',
  ]);
}

function backend(name: string, options: HaproxyOptions): string {
  const clients = name === CLIENT_BACKEND;
  const checkMs = options.checkIntervalMs ?? DEFAULT_CHECK_INTERVAL_MS;
  const slowstartMs = options.slowstartMs ?? DEFAULT_SLOWSTART_MS;
  const perNode = clients ? options.maxConnectionsPerNode : undefined;
  return lines(`backend ${name}`, [
    // Requests of servers are short: leastconn would count sockets and send them all to the emptiest node.
    clients ? BALANCE_LINES[options.balance ?? 'leastconn'] : 'balance roundrobin',
    'option httpchk',
    'http-check send meth GET uri /health/accepting ver HTTP/1.1 hdr Host weir',
    // 404 says "no new ones", also of a node that lost its broker: sockets stay. Everything else than 2xx means down.
    'http-check disable-on-404',
    [
      'default-server check',
      `inter ${checkMs}ms fastinter ${Math.ceil(checkMs / 4)}ms downinter ${Math.ceil(checkMs / 2)}ms rise 1 fall 2`,
      // Sockets of a dead node would hang until the tunnel timeout; ended, their clients resume elsewhere at once.
      'on-marked-down shutdown-sessions',
      // Shares an agent-check answers are taken of this; of the default, 1, everything below 100 % is nothing.
      `weight ${FULL_WEIGHT}`,
      ...agentCheckWords(options),
      ...(clients && slowstartMs > 0 ? [`slowstart ${slowstartMs}ms`] : []),
      ...(perNode === undefined ? [] : [`maxconn ${perNode}`]),
    ].join(' '),
    ...serverLines(options.nodes, clients),
  ]);
}

function agentCheckWords({ agentCheck, nodes }: HaproxyOptions): string[] {
  if (agentCheck === undefined) return [];
  const port = agentCheck.port ?? (nodes.kind === 'runtime' ? EMPTY_SLOT_ADDRESS.port : undefined);
  return [`agent-check agent-port ${port ?? ''} agent-inter ${agentCheck.intervalMs}ms`];
}

function serverLines(nodes: NodeSource, clients: boolean): string[] {
  const portOf = (node: { port: number; internalPort?: number }): number =>
    clients ? node.port : (node.internalPort ?? node.port);
  // Health is asked where the node serves it.
  const checkAt = (node: { internalPort?: number }): string =>
    node.internalPort === undefined ? '' : ` port ${node.internalPort}`;
  switch (nodes.kind) {
    case 'runtime': {
      const { host, port } = EMPTY_SLOT_ADDRESS;
      return [`server-template ${SLOT_PREFIX} 1-${nodes.slots} ${host}:${port} disabled`];
    }
    case 'dns': {
      const target = `${nodes.host}:${portOf(nodes)}${checkAt(nodes)}`;
      return [`server-template ${SLOT_PREFIX} 1-${nodes.slots} ${target} resolvers nodes init-addr none`];
    }
    case 'static':
      return nodes.nodes.map((node) => `server ${node.name} ${node.host}:${portOf(node)}${checkAt(node)}`);
  }
}
