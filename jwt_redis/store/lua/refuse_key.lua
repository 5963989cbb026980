-- All that a key has signed is refused, and all that somebody signs with it. KEYS: log, marker.
-- ARGV: the id of the store that is trusted ("" to take any), the log's horizon in seconds, the key's name, the reason.
if ARGV[1] ~= '' and redis.call('HGET', KEYS[2], 'store_id') ~= ARGV[1] then
  return redis.error_reply('UNTRUSTED this is another store than the one that was trusted')
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(number) return string.format('%.0f', number) end
local kid, added = ARGV[3], 0
local refused = redis.call('HGET', KEYS[2], 'refused_keys') or ''
if not string.find(',' .. refused .. ',', ',' .. kid .. ',', 1, true) then
  redis.call('HSET', KEYS[2], 'refused_keys', refused == '' and kid or refused .. ',' .. kid)
  local number = redis.call('HINCRBY', KEYS[2], 'revocations', 1)
  redis.call('XADD', KEYS[1], 'MINID', '~', int(now_ms - tonumber(ARGV[2]) * 1000), '*', 'number', number,
    'kind', 'key', 'user', '', 'id', kid, 'until', int(now_ms), 'reason', ARGV[4])
  added = 1
end
local stamp = redis.call('HMGET', KEYS[2], 'store_id', 'revocations')
return { {}, { stamp[1] or '', stamp[2] or '0', int(now_ms), 0 }, added }
