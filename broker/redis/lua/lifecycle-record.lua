-- Writes one batch of a life, with the events that follow from it, or only renews the life's lease.
--
-- KEYS      as lifecycle-lane.lua, then: 6 node hash of the life, 7 its retired mark
-- ARGV      as lifecycle-lane.lua, then: 7 life, 8 seq, 9 lease (ms), then per change: kind, key or channel, time, about, detail
-- Result    1 recorded, 2 behind (and the newest seq), 3 unknown, 4 retired
if redis.call('EXISTS', KEYS[7]) == 1 then
  return { 4 }
end
local newest = tonumber(redis.call('HGET', KEYS[6], 'seq'))
local seq = tonumber(ARGV[8])
local isBatch = #ARGV > 9
if not newest and not (isBatch and seq == 1) then
  return { 3 }
end
if newest and (newest < seq - 1 or (not isBatch and newest < seq)) then
  return { 2, newest }
end

local isNew = not newest or newest < seq
if isNew then
  redis.call('HSET', KEYS[6], 'seq', ARGV[8])
end
redis.call('ZADD', KEYS[3], ms(laneMs + ARGV[9]), ARGV[7])
redis.call('PEXPIRE', KEYS[6], KEPT_MS)
if not isNew then
  return { 1 }
end
for i = 10, #ARGV, 5 do
  local kind, name, timeMs, about, detail = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local id = ARGV[6] .. '.' .. ARGV[7] .. '.' .. ARGV[8] .. '.' .. ms((i - 10) / 5) .. '.'
  if kind == 'connected' then
    redis.call('HSET', KEYS[6], 'c:' .. name, about)
    emit('connected', name .. '.connected', timeMs, about, '')
  elseif kind == 'disconnected' then
    redis.call('HDEL', KEYS[6], 'c:' .. name)
    emit('disconnected', name .. '.disconnected', timeMs, about, detail)
  elseif kind == 'joined' then
    local isFirst = redis.call('HSETNX', KEYS[6], 's:' .. name, '') == 1 and redis.call('HINCRBY', KEYS[5], name, 1) == 1
      and redis.call('ZREM', KEYS[4], name) == 0
    if isFirst or detail == 'again' then
      emit('occupied', id .. 'occupied', timeMs, name, '')
    end
  elseif kind == 'left' then
    if redis.call('HDEL', KEYS[6], 's:' .. name) == 1 then
      leave(name)
    end
  else
    emit('lost', id .. 'lost', timeMs, '', detail)
  end
end
return { 1 }
