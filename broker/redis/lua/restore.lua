-- After a failover: appends what a node still holds of a channel beyond a numbering that came by replication, and notifies.
-- Any number of nodes may do so in any order: one position has one content, and what does not join yet is held until it does.
--
-- KEYS      1 numbering, 2 stream, 3 held, 4 rounds (see numbering.lua)
-- ARGV      1 replication id this server must have, 2 that of the writer under decision, 3 notifying command, 4 topic
--           5 life of a numbering (ms), 6 what precedes a message id in its seen key, 7 life of a seen message id (ms)
--           8 epoch, 9 highest offset known in it; then three per publication, offsets ascending: offset, message id or "", record
--             (which may be "" up to the offset of the numbering)
-- Held      offset -> record, "i<offset>" -> message id, "head" -> highest offset a node knows in the numbering's epoch,
--           "other" -> set when a node knows the channel in another epoch
-- Result    how many publications were appended. An error on another server.
-- The numbering keeps its writer: whether it goes on is decided afterwards.
local call = redis.call
local format = string.format
-- Life of a stream nobody told us the history of; the next publication settles it.
local STREAM_MS = 600000

if server ~= ARGV[1] then
  return redis.error_reply('ERR restore is meant for another server')
end
local numberingMs, epoch, head = tonumber(ARGV[5]), ARGV[8], tonumber(ARGV[9])
local held = KEYS[3]
local offset, streamUntil, writer = 0, 0, ARGV[2]
local state = call('GET', KEYS[1])
if state then
  local o, u, e, w = string.match(state, NUMBERING)
  if w == server or w == '' or call('HGET', KEYS[4], w .. ' ' .. server) == 'new' then
    return 0
  end
  if e ~= epoch then
    call('HSET', held, 'other', epoch)
    call('PEXPIRE', held, ARGV[5])
    return 0
  end
  offset, streamUntil, writer = tonumber(o), tonumber(u), w
end

for i = 10, #ARGV, 3 do
  if tonumber(ARGV[i]) > offset then
    call('HSET', held, ARGV[i], ARGV[i + 2])
    if ARGV[i + 1] ~= '' then
      call('HSET', held, 'i' .. ARGV[i], ARGV[i + 1])
    end
  elseif ARGV[i + 1] ~= '' then
    -- A node that did not know the message id may have been faster.
    call('SET', ARGV[6] .. ARGV[i + 1], ARGV[i] .. ' ' .. epoch, 'PX', ARGV[7], 'NX')
  end
end

local before = offset
local keeps = streamUntil > 0 or offset == 0
local run = { '' }
while true do
  local field = format('%.0f', offset + 1)
  local record = call('HGET', held, field)
  if not record then
    break
  end
  offset = offset + 1
  if keeps then
    call('XADD', KEYS[2], field .. '-0', 'p', record)
  end
  local id = call('HGET', held, 'i' .. field)
  if id then
    call('SET', ARGV[6] .. id, field .. ' ' .. epoch, 'PX', ARGV[7], 'NX')
  end
  call('HDEL', held, field, 'i' .. field)
  run[#run + 1] = record
end

if offset > before then
  local lifeMs = numberingMs
  if keeps then
    local clock = call('TIME')
    local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
    if streamUntil < nowMs + STREAM_MS then
      streamUntil = nowMs + STREAM_MS
      call('PEXPIRE', KEYS[2], format('%.0f', STREAM_MS))
    end
    lifeMs = streamUntil - nowMs + numberingMs
  end
  call('SET', KEYS[1], format('%.0f %.0f %s %s', offset, streamUntil, epoch, writer), 'PX', format('%.0f', lifeMs))
  run[1] = struct.pack('<BBdI4', 1, #epoch, before + 1, offset - before) .. epoch
  call(ARGV[3], ARGV[4], table.concat(run))
end
head = math.max(head, tonumber(call('HGET', held, 'head') or '0'))
if head > offset then
  call('HSET', held, 'head', format('%.0f', head))
  call('PEXPIRE', held, format('%.0f', numberingMs))
elseif call('HEXISTS', held, 'other') == 0 then
  call('UNLINK', held)
end
return offset - before
