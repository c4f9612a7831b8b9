-- Lists the lives of nodes whose lease is not over, also of those that closed since: what they knew is gone with them.
--
-- KEYS      1 index of lives (see announce.lua)
-- Result    lives
local clock = redis.call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', nowMs), '+inf')
