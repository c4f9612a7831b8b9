-- Renews the lease of a node.
--
-- KEYS      1 lease, 2 index of nodes (sorted set: node by end of lease, server ms)
--           3 index of lives (as 2: a node that started again under its name has two)
-- ARGV      1 record (JSON), 2 life of the lease (ms), 3 node, 4 this life of the node
-- Result    lives whose lease is not over
local clock = redis.call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
local untilMs = string.format('%.0f', nowMs + ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], untilMs, ARGV[3])
redis.call('ZADD', KEYS[3], untilMs, ARGV[4])
for i = 2, 3 do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', string.format('(%.0f', nowMs))
end
return redis.call('ZRANGE', KEYS[3], 0, -1)
