-- Takes a part of a life out, as if its lease were over.
--
-- KEYS      as lifecycle-lane.lua
-- ARGV      as lifecycle-lane.lua, then: 7 life
-- Result    1 when nothing is left of it
return retire(ARGV[7]) and 1 or 0
