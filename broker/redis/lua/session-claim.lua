-- Makes a connection the holder of a session, if the session is its owner's.
--
-- KEYS      1 session (see session-save.lua)
-- ARGV      1 lease (ms), 2 owner, 3 node, 4 connection
-- Result    nil when there is none for this owner, else the new fence, and as they were: node, connection, subscriptions
local state = redis.call('HMGET', KEYS[1], 'owner', 'node', 'connection', 'subscriptions')
if state[1] ~= ARGV[2] then
  return false
end
-- Not below the time: a replica that was promoted without the newest claims would give out their fences again.
local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local kept = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
local fence = string.format('%.0f', math.max(kept + 1, nowMs))
redis.call('HSET', KEYS[1], 'fence', fence, 'node', ARGV[3], 'connection', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return { fence, state[2], state[3], state[4] }
