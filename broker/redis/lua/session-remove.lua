-- Ends sessions that no newer connection has claimed. The fence stays for a lease, so that a late save brings none back.
--
-- KEYS      sessions (see session-save.lua)
-- ARGV      1 lease (ms), then per session: fence
-- Result    nothing
for i, key in ipairs(KEYS) do
  local kept = tonumber(redis.call('HGET', key, 'fence') or '0')
  if kept <= tonumber(ARGV[i + 1]) then
    redis.call('DEL', key)
    redis.call('HSET', key, 'fence', ARGV[i + 1])
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
