-- The store is to be trusted from here on: what it had lost was applied again, or is refused by its moment of birth.
-- KEYS: marker, lock. ARGV: the lock's token, the field of the server that is trusted, an id for a new store, its
-- moment of birth in ms ("" = now), and what a lost store is told by: the id that the marker still has ("" for none).
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local function number_of(text) return text and string.match(text, '^%d+$') and tonumber(text) end

if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
if ARGV[3] ~= '' and (redis.call('HGET', KEYS[1], 'store_id') or '') == ARGV[5] then
  redis.call('HSET', KEYS[1], 'store_id', ARGV[3], 'born_ms', ARGV[4] == '' and now or ARGV[4])
end
-- A moment that cannot be read becomes now: nobody from before is trusted.
local not_before = redis.call('HGET', KEYS[1], 'not_before')
if not number_of(redis.call('HGET', KEYS[1], 'born_ms')) then redis.call('HSET', KEYS[1], 'born_ms', now) end
if not_before and not number_of(not_before) then redis.call('HSET', KEYS[1], 'not_before', now) end
local count = redis.call('HGET', KEYS[1], 'revocations')
if count and not number_of(count) then redis.call('HSET', KEYS[1], 'revocations', 0) end
redis.call('HSET', KEYS[1], ARGV[2], now)

-- Servers that are long gone make room.
local all, known = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  if string.find(all[i], ':', 1, true) then known[#known + 1] = { all[i], number_of(all[i + 1]) or 0 } end
end
table.sort(known, function(a, b) return a[2] > b[2] end)
for i = 65, #known do redis.call('HDEL', KEYS[1], known[i][1]) end
return redis.call('HMGET', KEYS[1], 'store_id', 'born_ms', 'not_before', 'revocations')
