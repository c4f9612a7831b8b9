// Dependency rules: one room, one concern, arrows only downwards, no cycles (types included).
const room = (name) => `^${name}/`;

/** Rooms of the gateway from the bottom up; a room may use those before it. */
const gatewayLayers = [
  'observability',
  'transports',
  'access',
  'hooks',
  'config',
  'dialects',
  'fanout',
  'channels',
  'session',
  'overload',
  'api',
];

const onlyIn = (name, packages, where) => ({
  name,
  severity: 'error',
  comment: `${packages} belongs to ${where} alone`,
  from: { pathNot: [where, '\\.test\\.ts$', '^bench/', '^tests/', '^client/', '^loadtest/'] },
  to: { path: packages },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'protocol-knows-nobody',
      severity: 'error',
      from: { path: room('protocol') },
      to: { path: '^(?!protocol/|node_modules/)', dependencyTypesNot: ['core'] },
    },
    {
      name: 'client-knows-protocol-only',
      severity: 'error',
      from: { path: '^client/src/' },
      to: { path: '^(broker|gateway|loadbalancer|console|grafana|loadtest|bench|tests)/' },
    },
    {
      name: 'broker-knows-protocol-only',
      severity: 'error',
      from: { path: room('broker'), pathNot: '\\.test\\.ts$|^broker/conformance/' },
      to: { path: '^(gateway|client|loadbalancer|console|grafana|loadtest|bench|tests)/' },
    },
    {
      name: 'gateway-knows-no-driver',
      severity: 'error',
      comment: 'only the composition root names concrete drivers',
      from: { path: room('gateway'), pathNot: ['^gateway/main\\.ts$', '\\.test\\.ts$', '/test-fanout\\.ts$'] },
      to: { path: '^broker/(memory|redis)/' },
    },
    {
      name: 'gateway-knows-no-outer-room',
      severity: 'error',
      from: { path: room('gateway'), pathNot: '\\.test\\.ts$' },
      to: { path: '^(client|loadbalancer|console|grafana|loadtest|bench|tests)/' },
    },
    {
      name: 'product-knows-no-tests',
      severity: 'error',
      from: { path: '^(protocol|broker|gateway|loadbalancer|client)/', pathNot: '\\.test\\.ts$|/conformance/' },
      to: { path: '^tests/' },
    },
    ...gatewayLayers
      .map((layer, index) => ({
        name: `arrows-downwards-${layer}`,
        severity: 'error',
        comment: `gateway/${layer} may use only ${gatewayLayers.slice(0, index).join(', ') || 'nothing of the gateway'}`,
        from: { path: `^gateway/${layer}/`, pathNot: '\\.test\\.ts$' },
        to: { path: gatewayLayers.slice(index + 1).map((upper) => `^gateway/${upper}/`) },
      }))
      .filter((rule) => rule.to.path.length > 0),
    onlyIn('engine-in-one-room', 'node_modules/uWebSockets\\.js', '^gateway/transports/'),
    onlyIn('ioredis-in-one-room', 'node_modules/ioredis', '^broker/redis/'),
    onlyIn('rate-limiter-flexible-in-one-room', 'node_modules/rate-limiter-flexible', '^broker/redis/'),
    onlyIn('jsonwebtoken-in-one-room', 'node_modules/jsonwebtoken', '^gateway/access/tokens/'),
    onlyIn('prom-client-in-one-room', 'node_modules/prom-client', '^gateway/observability/'),
    onlyIn('pino-in-one-room', 'node_modules/pino/', '^gateway/observability/'),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)dist/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types', 'default'] },
  },
};
