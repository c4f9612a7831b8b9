-- Keeps revocations until their end.
--
-- KEYS      1 entries (hash: "<kind>:<value>" -> "<at ms> <until ms>"), 2 order (sorted set: entry by the sequence number of
--           its newest change), 3 ends (sorted set: entry by its end, Unix ms), 4 life (hash: epoch, seq)
-- ARGV      1 epoch of a new life, 2 most entries, then per revocation: entry, at (ms), until (ms)
-- Result    1 when kept, 0 when there would be too many: then nothing was
local clock = redis.call('TIME')
local nowMs = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', nowMs, 'LIMIT', 0, 1000)) do
  redis.call('HDEL', KEYS[1], entry)
  redis.call('ZREM', KEYS[2], entry)
  redis.call('ZREM', KEYS[3], entry)
end
if redis.call('HLEN', KEYS[1]) + (#ARGV - 2) / 3 > tonumber(ARGV[2]) then
  return 0
end
redis.call('HSETNX', KEYS[4], 'epoch', ARGV[1])
for i = 3, #ARGV, 3 do
  local entry, at, til = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local keptAt, keptUntil = string.match(redis.call('HGET', KEYS[1], entry) or '', '^(%d+) (%d+)$')
  if keptAt and tonumber(keptAt) > tonumber(at) then
    at = keptAt
  end
  if keptUntil and tonumber(keptUntil) > tonumber(til) then
    til = keptUntil
  end
  -- What nodes know already is no news: a node that gives back what was lost does not make all others read it again.
  if keptAt ~= at or keptUntil ~= til then
    redis.call('HSET', KEYS[1], entry, at .. ' ' .. til)
    redis.call('ZADD', KEYS[2], redis.call('HINCRBY', KEYS[4], 'seq', 1), entry)
    redis.call('ZADD', KEYS[3], til, entry)
  end
end
local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if last[2] then
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIREAT', key, string.format('%.0f', tonumber(last[2])))
  end
end
return 1
