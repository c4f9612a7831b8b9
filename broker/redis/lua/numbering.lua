-- Put in front of the scripts that read numberings: which server wrote one, and whether this one may number on
-- (docs/adr/0009-failover.md).
--
-- Numbering   "<offset> <stream until, server ms> <epoch> <replication id of the server that wrote it last>"
-- Rounds      hash, "<writer> <server>" -> "same" or "new": what the nodes decided about the numberings of that writer here
-- Held        hash per channel, only after a failover: what nodes know beyond the numbering (see restore.lua)
local NUMBERING = '^(%d+) (%d+) (%S+) ?(%x*)$'
-- Read here and not by the caller, whose knowledge could be older than the server's change of role.
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')

local function heldKey(numbering)
  return (string.gsub(numbering, '}:m:', '}:h:', 1))
end

local verdicts = {}
-- "same": the numbering goes on. "new": it ends here, the next epoch begins. Else the nodes have to decide first.
local function verdictOn(numbering, rounds, offset, writer)
  if writer == server then
    return 'same'
  end
  if writer == '' then
    return 'new'
  end
  if verdicts[writer] == nil then
    verdicts[writer] = redis.call('HGET', rounds, writer .. ' ' .. server)
  end
  if verdicts[writer] == 'same' then
    -- A node knows publications that none could supply.
    local claims = redis.call('HMGET', heldKey(numbering), 'head', 'other')
    if claims[2] or tonumber(claims[1] or '0') > tonumber(offset) then
      return 'new'
    end
  end
  return verdicts[writer]
end

-- The answer that asks for a decision.
local function undecided(writer)
  return '?' .. writer .. ' ' .. server
end
