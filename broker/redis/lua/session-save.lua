-- Writes sessions and renews their leases, except those that a newer connection has claimed.
--
-- KEYS      sessions (hash: fence, owner, node, connection, subscriptions; only fence once removed)
-- ARGV      1 lease (ms), then per session: fence, owner, node, connection, subscriptions (JSON)
-- Result    per session 1 when saved, 0 when its fence was lower than the one kept
local results = {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5 + 2
  local kept = tonumber(redis.call('HGET', key, 'fence') or '0')
  if kept > tonumber(ARGV[at]) then
    results[i] = 0
  else
    redis.call('HSET', key, 'fence', ARGV[at], 'owner', ARGV[at + 1], 'node', ARGV[at + 2],
      'connection', ARGV[at + 3], 'subscriptions', ARGV[at + 4])
    redis.call('PEXPIRE', key, ARGV[1])
    results[i] = 1
  end
end
return results
