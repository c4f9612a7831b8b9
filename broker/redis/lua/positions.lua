-- Heads of channels; a channel without numbering gets its epoch here, for a short life that no read renews.
-- The first publication gives it the full one (see publish.lua); a numbering that exists is left as it is.
--
-- KEYS      numbering of every channel; last the rounds (see numbering.lua)
-- ARGV      1 epoch for channels without numbering, 2 life of a numbering until its first publication (ms)
-- Result    per channel "<offset> <epoch>", or "?<writer> <server>" when the nodes have to decide first (see publish.lua)
local rounds = KEYS[#KEYS]
local states = redis.call('MGET', unpack(KEYS))
local results = {}
for i = 1, #KEYS - 1 do
  local offset, _, epoch, writer = string.match(states[i] or '', NUMBERING)
  local verdict = offset and verdictOn(KEYS[i], rounds, offset, writer)
  if verdict == 'same' then
    results[i] = offset .. ' ' .. epoch
  elseif offset and not verdict then
    results[i] = undecided(writer)
  else
    -- A channel named twice must not get two epochs; the candidate is the same, so the second write changes nothing.
    redis.call('SET', KEYS[i], '0 0 ' .. ARGV[1] .. ' ' .. server, 'PX', ARGV[2])
    redis.call('UNLINK', heldKey(KEYS[i]))
    results[i] = '0 ' .. ARGV[1]
  end
end
return results
