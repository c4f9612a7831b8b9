-- Takes lives out that are over, tells channels vacated whose grace has ended, and reads the oldest events for the lane's holder.
--
-- KEYS      as lifecycle-lane.lua
-- ARGV      as lifecycle-lane.lua, then: 7 holder, 8 wish (hold, look, leave), 9 how long it holds (ms), 10 most events read
-- Result    1 when held, events in the lane, age of the oldest (ms), 1 when a life is not taken out completely, then the events:
--           position, type, id, time, subject, detail each
local VACATED_PER_CALL = 200
settleLost()
local over = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ms(laneMs), 'LIMIT', 0, 2)
local isUnfinished = over[2] ~= nil
if over[1] and not retire(over[1]) then
  isUnfinished = true
end
local vacated = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ms(laneMs), 'WITHSCORES', 'LIMIT', 0, VACATED_PER_CALL)
for i = 1, #vacated, 2 do
  redis.call('ZREM', KEYS[4], vacated[i])
  emit('vacated', ms(tonumber(vacated[i + 1])) .. '.' .. vacated[i] .. '.vacated', ms(nowMs), vacated[i], '')
end

local current = redis.call('HMGET', KEYS[1], 'holder', 'until')
local isMine = current[1] == ARGV[7]
if ARGV[8] == 'leave' and isMine then
  redis.call('HDEL', KEYS[1], 'holder', 'until')
  isMine = false
elseif ARGV[8] == 'hold' and (isMine or not current[1] or tonumber(current[2]) <= laneMs) then
  redis.call('HSET', KEYS[1], 'holder', ARGV[7], 'until', ms(laneMs + ARGV[9]))
  isMine = true
end
-- What no node asks for any more is not kept for ever.
for i = 1, 5 do
  redis.call('PEXPIRE', KEYS[i], KEPT_MS)
end

local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local oldestMs = first and math.max(0, nowMs - tonumber(string.match(first[1], '^%d+'))) or 0
local result = { isMine and 1 or 0, redis.call('XLEN', KEYS[2]), oldestMs, isUnfinished and 1 or 0 }
if isMine then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[10])) do
    result[#result + 1] = entry[1]
    for i = 2, 10, 2 do
      result[#result + 1] = entry[2][i]
    end
  end
end
return result
