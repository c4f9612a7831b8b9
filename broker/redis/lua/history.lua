-- Reads a page of a channel's log together with its position. A channel without numbering gets its epoch as in positions.lua.
--
-- KEYS      1 numbering, 2 stream, 3 rounds (see numbering.lua)
-- ARGV      1 epoch for a channel without numbering, 2 life of a numbering until its first publication (ms)
--           3 start: "after", "earliest" or "last", 4 its offset or count (else "0")
--           5 publications in the page, 6 "1" for descending order
--           7 history size, 8 oldest time still returned (Unix ms), 9 bytes of records after which the page ends
-- Result    { epoch, head offset, offset of the first record, "1" when a further page exists, record, record, … };
--           offsets ascend (descend) by one. { "?<writer> <server>" } when the nodes have to decide first (see publish.lua)
local call = redis.call
local CHUNK = 128

local state = call('GET', KEYS[1])
local headText, _, epoch, writer = string.match(state or '', NUMBERING)
local verdict = headText and verdictOn(KEYS[1], KEYS[3], headText, writer)
if headText and not verdict then
  return { undecided(writer) }
end
if verdict ~= 'same' then
  call('SET', KEYS[1], '0 0 ' .. ARGV[1] .. ' ' .. server, 'PX', ARGV[2])
  call('UNLINK', heldKey(KEYS[1]))
  return { ARGV[1], '0', '0', '0' }
end
local head = tonumber(headText)
local kind, number, limit, descending = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local size, oldestMs, maxBytes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

local low, high = math.max(1, head - size + 1), head
if kind == 'last' then
  low = math.max(low, head - number + 1)
elseif kind == 'after' and descending then
  high = math.min(high, number - 1)
elseif kind == 'after' then
  low = math.max(low, number + 1)
end

local function id(offset)
  return string.format('%.0f-0', offset)
end

local function offsetOf(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

local function expired(entry)
  return struct.unpack('<d', entry[2][2], 7) < oldestMs
end

-- First offset in [from, to] whose record is not expired, or to + 1. Times nearly ascend: nodes' clocks may differ a little.
local function firstFresh(from, to)
  local past = to + 1
  while from < past do
    local middle = math.floor((from + past) / 2)
    local entry = call('XRANGE', KEYS[2], id(middle), id(middle))[1]
    if entry and expired(entry) then
      from = middle + 1
    else
      past = middle
    end
  end
  return from
end

local none = { epoch, headText, '0', '0' }
if low > high then
  return none
end
if not descending then
  local oldest = call('XRANGE', KEYS[2], id(low), id(high), 'COUNT', 1)[1]
  if not oldest then
    return none
  end
  low = offsetOf(oldest)
  if expired(oldest) then
    low = firstFresh(low + 1, high)
    if low > high then
      return none
    end
  end
end

local page = { epoch, headText, '0', '0' }
local taken, bytes, last = 0, 0, nil
local ended = false
while not ended and low <= high do
  local want = math.min(CHUNK, limit - taken)
  local entries
  if descending then
    entries = call('XREVRANGE', KEYS[2], id(high), id(low), 'COUNT', want)
  else
    entries = call('XRANGE', KEYS[2], id(low), id(high), 'COUNT', want)
  end
  ended = #entries < want
  for _, entry in ipairs(entries) do
    if descending and expired(entry) then
      return page
    end
    last = offsetOf(entry)
    if taken == 0 then
      page[3] = string.format('%.0f', last)
    end
    taken = taken + 1
    bytes = bytes + #entry[2][2]
    page[4 + taken] = entry[2][2]
    if taken == limit or bytes >= maxBytes then
      ended = true
      break
    end
  end
  if last then
    if descending then
      high = last - 1
    else
      low = last + 1
    end
  end
end
if low <= high and taken > 0 then
  -- Ascending, the stream reaches up to the head. Descending, the next one may be trimmed or expired.
  local nextOffset = descending and high or low
  local following = call('XRANGE', KEYS[2], id(nextOffset), id(nextOffset))[1]
  if following and not expired(following) then
    page[4] = '1'
  end
end
return page
