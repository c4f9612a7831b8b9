-- Sets one holder's shares of counted limits and renews their lease.
--
-- KEYS      per limit: hash (holder: "count expiry", expiry in server ms)
-- ARGV      1 lease (ms), 2 holder, then per key: used, wanted, limit
-- Result    per key the share: wanted or what the others left of the limit, never less than used
local clock = redis.call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
local shares = {}
for i, key in ipairs(KEYS) do
  local at = i * 3
  local used, wanted, limit = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local others = 0
  local kept = redis.call('HGETALL', key)
  for n = 1, #kept, 2 do
    if kept[n] ~= ARGV[2] then
      local count, expiry = string.match(kept[n + 1], '^(%d+) (%d+)$')
      if tonumber(expiry) > nowMs then
        others = others + tonumber(count)
      else
        redis.call('HDEL', key, kept[n])
      end
    end
  end
  local share = math.max(used, math.min(wanted, limit - others))
  if share == 0 then
    redis.call('HDEL', key, ARGV[2])
  else
    redis.call('HSET', key, ARGV[2], string.format('%d %.0f', share, nowMs + ARGV[1]))
    redis.call('PEXPIRE', key, ARGV[1])
  end
  shares[i] = share
end
return shares
