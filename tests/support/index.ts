// The one door to everything tests of several rooms need.
export { startRedis, type RedisOptions, type RedisProcess } from '../../loadbalancer/cluster/redis-process.ts';
export {
  startHaproxy,
  type HaproxyProcess,
  type LocalHaproxyOptions,
} from '../../loadbalancer/cluster/haproxy-process.ts';
export { startNode, projectRoot, type NodeOptions, type NodeProcess } from '../../loadbalancer/cluster/node-process.ts';
export { startCluster, type Cluster, type ClusterOptions } from '../../loadbalancer/cluster/cluster.ts';
export { startProcess, type ProcessOptions, type RunningProcess } from '../../loadbalancer/cluster/process.ts';
export { freePort } from '../../loadbalancer/cluster/free-port.ts';
export { temporaryDirectory, type TemporaryDirectory } from '../../loadbalancer/cluster/temporary-directory.ts';
export { startFaultProxy, type FaultProxy, type ProxiedConnection } from './fault-proxy.ts';
export { requestJson, type JsonAnswer, type JsonRequest } from './http.ts';
export * from './raw-socket.ts';
export { waitFor, type WaitOptions } from './wait-for.ts';
export { openWsClient, UpgradeRefused, type WireObject, type WsClient, type WsClientOptions } from './ws-client.ts';
export { createKept } from './kept.ts';
export { type KeyIssuer, startKeyIssuer } from './key-issuer.ts';
export { type SteadyLoad, startSteadyLoad } from './steady-load.ts';
export { forgeToken, signToken, TOKEN_SECRET, type TestTokenOptions } from './tokens.ts';
export { answerJson, type HookAnswer, type HookBackend, startHookBackend } from './hook-backend.ts';
export { allEvents, toldEvents, type ToldEvent, typesOf } from './told-events.ts';
