-- Renews the lease of a node.
--
-- KEYS      1 lease, 2 index of nodes (sorted set: node by end of lease, server ms)
-- ARGV      1 record (JSON), 2 life of the lease (ms), 3 node
-- Result    names of the nodes whose lease is not over
local clock = redis.call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', nowMs + ARGV[2]), ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', nowMs))
return redis.call('ZRANGE', KEYS[2], 0, -1)
