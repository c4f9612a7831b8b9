-- Reads the revocations that were added after a sequence number, oldest change first.
--
-- KEYS      as revocations-add.lua
-- ARGV      1 life that the reader knows ("" for none), 2 the newest sequence number it knows, 3 most entries
-- Result    life, newest sequence number in this answer, 1 when the reader's life is over, 1 when more follow, then per
--           revocation: entry, "<at ms> <until ms>"
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
local kept = redis.call('HMGET', KEYS[4], 'epoch', 'seq')
local seq = tonumber(kept[2] or '0')
-- Another server may lack what the one before was told last.
local life = (kept[1] or '') .. ':' .. server
local known = tonumber(ARGV[2])
local isOver = 0
if ARGV[1] ~= life or seq < known then
  isOver = 1
  known = 0
end
local entries = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. known, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local result = { life, tostring(seq), tostring(isOver), '0' }
for i = 1, #entries, 2 do
  local value = redis.call('HGET', KEYS[1], entries[i])
  if value then
    result[#result + 1] = entries[i]
    result[#result + 1] = value
  end
end
if #entries / 2 == tonumber(ARGV[3]) then
  result[2] = string.format('%.0f', entries[#entries])
  result[4] = '1'
end
return result
