-- Appends publications to the logs of their channels and notifies subscribers: idempotency, epoch, offset, stream, message.
--
-- KEYS      per channel, in order: numbering (string "<offset> <stream until, server ms> <epoch>
--           <replication id>"), stream;
--           behind all of those, for every publication that has a message id, in order: its seen key (string "<offset> <epoch>");
--           last the rounds (see numbering.lua)
-- ARGV      1 notifying command (PUBLISH or SPUBLISH)
--           2 epoch for channels without numbering (no spaces)
--           3 life of a numbering after its last publication and after its stream, ms (of one a read created: see positions.lua)
--           4 life of a seen message id, ms
--           5 number of channels
--           then per channel four: topic, history size, history time to live (ms), flags: one character per publication,
--             "1" with message id, "0" without
--           then the records of all publications, in order (binary, opaque here)
-- Result    per channel one string: "<offset> <epoch>" after the call, followed by " <index> <offset> <epoch>" for every
--           duplicate (index counts the channel's publications in this call from 0; fresh ones have consecutive offsets
--           up to the first). When nothing of the channel was appended: "!<error>", or "?<writer> <server>" when the nodes
--           have to decide first whether this server may number on.
-- Message   as broker/redis/record.ts: one per channel and call, with all fresh records.
-- Failover  A server that has a numbering by replication may miss its tail: it numbers on in the same epoch only after the
--           nodes restored the tail, and starts a new epoch otherwise (docs/adr/0009-failover.md).
-- A channel's failure never touches the others of the call.
local call = redis.call
local format = string.format
local notify, candidate = ARGV[1], ARGV[2]
local numberingLife, seenMs = ARGV[3], ARGV[4]
local numberingMs = tonumber(numberingLife)
local channels = tonumber(ARGV[5])
local clock = call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
local rounds = KEYS[#KEYS]

local function append(numbering, stream, topic, size, ttlMs, flags, seenAt, recordAt)
  local offset, streamUntil, epoch = 0, 0, candidate
  -- The same as digits: writing a number is slow, and each is needed several times.
  local offsetText, untilText = '0', '0'
  local state = call('GET', numbering)
  if state then
    local o, u, e, writer = string.match(state, NUMBERING)
    local verdict = verdictOn(numbering, rounds, o, writer)
    if not verdict then
      return undecided(writer)
    end
    if writer ~= server then
      call('UNLINK', heldKey(numbering))
    end
    if verdict == 'same' then
      offset, streamUntil, epoch = tonumber(o), tonumber(u), e
      offsetText, untilText = o, u
    else
      -- Written at once: a call of nothing but duplicates must not leave the old numbering without its stream.
      call('SET', numbering, '0 0 ' .. candidate .. ' ' .. server, 'PX', numberingLife)
      call('UNLINK', stream)
    end
  else
    -- What a failover left of a life of the channel whose numbering never came here.
    call('UNLINK', heldKey(numbering))
  end
  local keeps = size ~= '0'
  -- A stream without numbering belongs to a former epoch; one without history would have a hole after the next change of size.
  if (offset == 0 and keeps) or (streamUntil > 0 and not keeps) then
    call('UNLINK', stream)
    streamUntil, untilText = 0, '0'
  end

  local before = offset
  local count = #flags
  local run = { '' }
  local duplicates = ''
  for i = 1, count do
    local seen = false
    local identified = string.byte(flags, i) == 49
    if identified then
      seen = call('GET', KEYS[seenAt])
    end
    if seen then
      duplicates = duplicates .. ' ' .. (i - 1) .. ' ' .. seen
      -- A write, so that a WAIT behind this call covers the first publication: from 7.2 on (Valkey too) a server waits for a
      -- connection's last write, and a retry on a connection that wrote nothing since would be acknowledged by no replica at all.
      call('PEXPIRE', KEYS[seenAt], seenMs)
    else
      offset = offset + 1
      offsetText = format('%.0f', offset)
      local record = ARGV[recordAt + i - 1]
      if keeps then
        -- Trimming once per run is enough: it is approximate anyway.
        if i == count then
          call('XADD', stream, 'MAXLEN', '~', size, offsetText .. '-0', 'p', record)
        else
          call('XADD', stream, offsetText .. '-0', 'p', record)
        end
      end
      if identified then
        call('SET', KEYS[seenAt], offsetText .. ' ' .. epoch, 'PX', seenMs)
      end
      run[#run + 1] = record
    end
    if identified then
      seenAt = seenAt + 1
    end
  end

  if offset > before then
    local life = not keeps and numberingLife
    if keeps and streamUntil < nowMs + ttlMs then
      -- Renewed with a quarter to spare, so that a busy channel pays for expiries once per quarter of its time to live. The
      -- numbering outlives the stream by its own life.
      local spareMs = ttlMs * 1.25
      untilText = format('%.0f', math.floor(nowMs + spareMs))
      call('PEXPIRE', stream, format('%.0f', spareMs))
      life = format('%.0f', spareMs + numberingMs)
    end
    local written = offsetText .. ' ' .. untilText .. ' ' .. epoch .. ' ' .. server
    if life then
      call('SET', numbering, written, 'PX', life)
    else
      call('SET', numbering, written, 'KEEPTTL')
    end
    run[1] = struct.pack('<BBdI4', 1, #epoch, before + 1, offset - before) .. epoch
    call(notify, topic, table.concat(run))
  end
  return offsetText .. ' ' .. epoch .. duplicates
end

local results = {}
local seenAt = 2 * channels + 1
local recordAt = 5 + 4 * channels + 1
for c = 1, channels do
  local at = 5 + 4 * (c - 1)
  local numbering, stream, flags = KEYS[2 * c - 1], KEYS[2 * c], ARGV[at + 4]
  local ok, result = pcall(append, numbering, stream, ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), flags, seenAt, recordAt)
  if not ok then
    local text = type(result) == 'table' and result.err or tostring(result)
    -- The stream is ahead of its numbering: only a new epoch can go on, and it must not reuse offsets of this one.
    if string.find(text, 'equal or smaller', 1, true) then
      call('UNLINK', numbering, stream)
    end
    result = '!' .. text
  end
  results[c] = result
  recordAt = recordAt + #flags
  local _, identified = string.gsub(flags, '1', '')
  seenAt = seenAt + identified
end
return results
