-- Reads the marker, and gives birth to the store where there is none. A damaged moment becomes now: nobody from
-- before is trusted. KEYS: marker. ARGV: an id for a new store.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
redis.call('HSETNX', KEYS[1], 'store_id', ARGV[1])
local marker = redis.call('HMGET', KEYS[1], 'store_id', 'born_ms', 'not_before')
if not marker[2] or not string.match(marker[2], '^%d+$') then
  redis.call('HSET', KEYS[1], 'born_ms', now)
  marker[2] = now
end
if marker[3] and not string.match(marker[3], '^%d+$') then
  redis.call('HSET', KEYS[1], 'not_before', now)
  marker[3] = now
end
return marker
