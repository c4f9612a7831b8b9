-- Shared by the scripts on lifecycle events: a lane's clock, its log, and taking a life out. Precedes them in one script.
--
-- KEYS      1 meta (hash: at, clock, holder, until, lost, losses), 2 log (stream: t type, i id, m time, s subject, d detail)
--           3 lives (sorted set: life by the end of its lease, lane clock ms), 4 vacating (sorted set: channel by the end of its grace)
--           5 channels (hash: channel -> lives that joined it); <node prefix><life> (hash: seq, c:<key> -> about, s:<channel>)
-- ARGV      1 node prefix, 2 retired prefix (both with the hash tag of the keys), 3 grace (ms), 4 most events,
--           5 longest step of the clock (ms), 6 number of the lane, which is part of ids
local RETIRED_MS, KEPT_MS, SWEPT_PER_CALL = 86400000, 604800000, 500
local function ms(number)
  return string.format('%.0f', number)
end

local serverTime = redis.call('TIME')
local nowMs = serverTime[1] * 1000 + math.floor(serverTime[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'at', 'clock', 'lost')
-- Stands still while nobody calls, so that an outage ends no lease; the server's own clock may also jump.
-- Begins at the time, so that a lane that lost everything does not give out again what its ids are made of.
local laneMs = (tonumber(kept[2]) or nowMs) + math.max(0, math.min(tonumber(ARGV[5]), nowMs - (tonumber(kept[1]) or nowMs)))
redis.call('HSET', KEYS[1], 'at', ms(nowMs), 'clock', ms(laneMs))

local room = tonumber(ARGV[4]) - redis.call('XLEN', KEYS[2])
local lost = tonumber(kept[3]) or 0
local function append(type, id, timeMs, subject, detail)
  redis.call('XADD', KEYS[2], '*', 't', type, 'i', id, 'm', timeMs, 's', subject, 'd', detail)
  room = room - 1
end
local function settleLost()
  if lost > 0 and room > 0 then
    local losses = redis.call('HINCRBY', KEYS[1], 'losses', 1)
    append('lost', ARGV[6] .. '.' .. ms(nowMs) .. '.' .. losses .. '.full', ms(nowMs), '', ms(lost))
    redis.call('HDEL', KEYS[1], 'lost')
    lost = 0
  end
end
local function emit(type, id, timeMs, subject, detail)
  settleLost()
  if room > 0 then
    append(type, id, timeMs, subject, detail)
  else
    lost = redis.call('HINCRBY', KEYS[1], 'lost', 1)
  end
end

local function leave(channel)
  if redis.call('HINCRBY', KEYS[5], channel, -1) <= 0 then
    redis.call('HDEL', KEYS[5], channel)
    redis.call('ZADD', KEYS[4], ms(laneMs + ARGV[3]), channel)
  end
end

-- Takes a bounded part of a life out; true when nothing is left.
local function retire(life)
  local node = ARGV[1] .. life
  redis.call('SET', ARGV[2] .. life, '', 'PX', RETIRED_MS)
  redis.call('HDEL', node, 'seq')
  local holder = redis.call('HGET', KEYS[1], 'holder')
  if holder and string.sub(life, 1, #holder + 1) == holder .. '.' then
    redis.call('HDEL', KEYS[1], 'holder', 'until')
  end
  local cursor, swept = '0', 0
  repeat
    local page = redis.call('HSCAN', node, cursor, 'COUNT', SWEPT_PER_CALL)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local field, value = page[2][i], page[2][i + 1]
      -- A scan may show a field twice.
      if redis.call('HDEL', node, field) == 1 then
        local name = string.sub(field, 3)
        if string.sub(field, 1, 2) == 'c:' then
          emit('disconnected', name .. '.disconnected', ms(nowMs), value, 'node_lost')
        else
          leave(name)
        end
        swept = swept + 1
      end
    end
  until cursor == '0' or swept >= SWEPT_PER_CALL
  if redis.call('EXISTS', node) == 1 then
    return false
  end
  redis.call('ZREM', KEYS[3], life)
  return true
end
