-- Nobody from before a moment is trusted. The moment only ever moves forward. KEYS: log, marker.
-- ARGV: an id for a new store, the log's horizon in seconds, the moment in ms ("" = now), the reason.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(number) return string.format('%.0f', number) end
if redis.call('HSETNX', KEYS[2], 'store_id', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[2], 'born_ms', int(now_ms))
end
local before = now_ms
if ARGV[3] ~= '' then before = math.min(tonumber(ARGV[3]), now_ms) end
local known = tonumber(redis.call('HGET', KEYS[2], 'not_before') or 0) or 0
if before > known then
  redis.call('HSET', KEYS[2], 'not_before', int(before))
  local number = redis.call('HINCRBY', KEYS[2], 'revocations', 1)
  redis.call('XADD', KEYS[1], 'MINID', '~', int(now_ms - tonumber(ARGV[2]) * 1000), '*', 'number', number,
    'kind', 'all', 'user', '', 'id', '', 'until', int(before), 'reason', ARGV[4])
end
return int(math.max(before, known))
