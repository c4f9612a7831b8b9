// The Redis driver passes the conformance suite on a real Sentinel deployment.
import { startRedisSentinel } from '../../loadbalancer/cluster/redis-topologies.ts';
import { describeRedisConformance } from './redis-conformance.ts';

describeRedisConformance('Redis driver through Sentinels', startRedisSentinel);
