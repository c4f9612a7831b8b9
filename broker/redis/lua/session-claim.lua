-- Makes a connection the holder of a session, if the session is its owner's.
--
-- KEYS      1 session (see session-save.lua)
-- ARGV      1 lease (ms), 2 owner, 3 node, 4 connection
-- Result    nil when there is none for this owner, else the new fence, and as they were: node, connection, subscriptions
local state = redis.call('HMGET', KEYS[1], 'owner', 'node', 'connection', 'subscriptions')
if state[1] ~= ARGV[2] then
  return false
end
local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('HSET', KEYS[1], 'node', ARGV[3], 'connection', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return { tostring(fence), state[2], state[3], state[4] }
