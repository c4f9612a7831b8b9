-- Lists the leases that are not over.
--
-- KEYS      1 index of nodes (see announce.lua)
-- ARGV      1 what precedes the node name in the key of a lease (same hash tag as the index)
-- Result    records (JSON), ordered by node name
local clock = redis.call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
local nodes = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', nowMs), '+inf')
table.sort(nodes)
local records = {}
for _, node in ipairs(nodes) do
  local record = redis.call('GET', ARGV[1] .. node)
  if record then
    records[#records + 1] = record
  end
end
return records
