// The Redis driver passes the conformance suite on a real cluster.
import { startRedisCluster } from '../../loadbalancer/cluster/redis-topologies.ts';
import { describeRedisConformance } from './redis-conformance.ts';

describeRedisConformance('Redis driver on a cluster of three masters', startRedisCluster);
