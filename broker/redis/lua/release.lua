-- Ends the lease of a node that closes, unless a successor of the same name holds it by now.
--
-- KEYS      1 lease, 2 index of nodes (see announce.lua)
-- ARGV      1 the record this node announced last, 2 node
-- Result    nothing
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
