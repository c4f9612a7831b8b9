// The Redis driver passes the conformance suite against a real server.
import { startRedis } from '../../loadbalancer/cluster/redis-process.ts';
import { describeRedisConformance } from './redis-conformance.ts';

describeRedisConformance('Redis driver', startRedis);
