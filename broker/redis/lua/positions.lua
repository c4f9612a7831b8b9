-- Heads of channels; a channel without numbering gets its epoch here, for a short life that no read renews.
-- The first publication gives it the full one (see publish.lua); a numbering that exists is left as it is.
--
-- KEYS      numbering of every channel (see publish.lua)
-- ARGV      1 epoch for channels without numbering, 2 life of a numbering until its first publication (ms)
-- Result    "<offset> <epoch>" per channel
local results = {}
for i, state in ipairs(redis.call('MGET', unpack(KEYS))) do
  if state then
    local offset, epoch = string.match(state, '^(%d+) %d+ (.+)$')
    results[i] = offset .. ' ' .. epoch
  else
    -- A channel named twice must not get two epochs; the candidate is the same, so the second write changes nothing.
    redis.call('SET', KEYS[i], '0 0 ' .. ARGV[1], 'PX', ARGV[2])
    results[i] = '0 ' .. ARGV[1]
  end
end
return results
