-- Appends publications to the logs of their channels and notifies subscribers: idempotency, epoch, offset, stream, message.
--
-- KEYS      per channel, in order: numbering (string "<offset> <stream until, server ms> <epoch>
--           <replication id>"), stream;
--           behind all of those, for every publication that has a message id, in order: its seen key (string "<offset> <epoch>");
--           last the rounds (see numbering.lua)
-- ARGV      1 notifying command (PUBLISH or SPUBLISH)
--           2 epoch for channels without numbering (no spaces)
--           3 life of a numbering after its last publication, ms (also of one a read created, see positions.lua)
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
local numberingMs, seenMs = tonumber(ARGV[3]), ARGV[4]
local channels = tonumber(ARGV[5])
local clock = call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
local rounds = KEYS[#KEYS]

local function append(numbering, stream, topic, size, ttlMs, flags, seenAt, recordAt)
  local offset, streamUntil, epoch = 0, 0, candidate
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
    else
      -- Written at once: a call of nothing but duplicates must not leave the old numbering without its stream.
      call('SET', numbering, format('0 0 %s %s', candidate, server), 'PX', format('%.0f', numberingMs))
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
    streamUntil = 0
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
      local record = ARGV[recordAt + i - 1]
      if keeps then
        -- Trimming once per run is enough: it is approximate anyway.
        if i == count then
          call('XADD', stream, 'MAXLEN', '~', size, format('%.0f-0', offset), 'p', record)
        else
          call('XADD', stream, format('%.0f-0', offset), 'p', record)
        end
      end
      if identified then
        call('SET', KEYS[seenAt], format('%.0f %s', offset, epoch), 'PX', seenMs)
      end
      run[#run + 1] = record
    end
    if identified then
      seenAt = seenAt + 1
    end
  end

  if offset > before then
    local lifeMs = numberingMs
    if keeps then
      -- Renewed with a quarter to spare, so that a busy channel pays for an expiry once per quarter of its time to live.
      local spareMs = ttlMs * 1.25
      if streamUntil < nowMs + ttlMs then
        streamUntil = math.floor(nowMs + spareMs)
        call('PEXPIRE', stream, format('%.0f', spareMs))
      end
      if spareMs > lifeMs then
        lifeMs = spareMs
      end
    end
    call('SET', numbering, format('%.0f %.0f %s %s', offset, streamUntil, epoch, server), 'PX', format('%.0f', lifeMs))
    run[1] = struct.pack('<BBdI4', 1, #epoch, before + 1, offset - before) .. epoch
    call(notify, topic, table.concat(run))
  end
  return format('%.0f %s', offset, epoch) .. duplicates
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
