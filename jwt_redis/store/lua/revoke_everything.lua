-- Nobody from before a moment is trusted. The moment only ever moves forward. KEYS: log, marker.
-- ARGV: the id of the store that is trusted ("" to take any), the log's horizon in seconds, the moment in ms ("" = now), the reason.
if ARGV[1] ~= '' and redis.call('HGET', KEYS[2], 'store_id') ~= ARGV[1] then
  return redis.error_reply('UNTRUSTED this is another store than the one that was trusted')
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(number) return string.format('%.0f', number) end
local before = now_ms
if ARGV[3] ~= '' then before = math.min(tonumber(ARGV[3]), now_ms) end
local known = tonumber(redis.call('HGET', KEYS[2], 'not_before') or 0) or 0
if before > known then redis.call('HSET', KEYS[2], 'not_before', int(before)) end
-- Also where the moment does not move, as a clock was set back: near caches know of moments by the log alone.
if before > known or ARGV[3] == '' then
  local number = redis.call('HINCRBY', KEYS[2], 'revocations', 1)
  redis.call('XADD', KEYS[1], 'MINID', '~', int(now_ms - tonumber(ARGV[2]) * 1000), '*', 'number', number,
    'kind', 'all', 'user', '', 'id', '', 'until', int(before), 'reason', ARGV[4])
end
local stamp = redis.call('HMGET', KEYS[2], 'store_id', 'revocations')
return { {}, { stamp[1] or '', stamp[2] or '0', int(before), 0 }, int(math.max(before, known)) }
