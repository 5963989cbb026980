-- The store is to be trusted from here on: what it had lost was applied again, or is refused by its moment of birth.
-- KEYS: marker, lock. ARGV: the lock's token, the id of the store, the fields of the servers that are trusted.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
if redis.call('HGET', KEYS[1], 'store_id') ~= ARGV[2] then return false end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local function number_of(text) return text and string.match(text, '^%d+$') and tonumber(text) end

-- A moment that cannot be read becomes now: nobody from before is trusted.
local not_before = redis.call('HGET', KEYS[1], 'not_before')
if not number_of(redis.call('HGET', KEYS[1], 'born_ms')) then redis.call('HSET', KEYS[1], 'born_ms', now) end
if not_before and not number_of(not_before) then redis.call('HSET', KEYS[1], 'not_before', now) end
for i = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], now) end
redis.call('HDEL', KEYS[1], 'mending')

-- Servers that are long gone make room.
local all, known = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  if string.find(all[i], ':', 1, true) then known[#known + 1] = { all[i], number_of(all[i + 1]) or 0 } end
end
table.sort(known, function(a, b) return a[2] > b[2] end)
for i = 65, #known do redis.call('HDEL', KEYS[1], known[i][1]) end
return redis.call('HMGET', KEYS[1], 'store_id', 'born_ms', 'not_before', 'revocations', 'mending', 'refused_keys')
