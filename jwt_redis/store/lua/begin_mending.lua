-- The store begins a new chapter: what it may lack is about to be applied, and nobody is answered until that is done.
-- KEYS: marker, lock. ARGV: the lock's token, the id that the marker was seen with ("" if any), a new id, and how:
-- "behind" (it has what came up to its number), "astray" (its number says nothing), "lost" (it begins anew, with the
-- moment of birth in ms that follows, "" for now).
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
local id = redis.call('HGET', KEYS[1], 'store_id') or ''
if ARGV[2] ~= '' and id ~= ARGV[2] then return false end
local revocations = redis.call('HGET', KEYS[1], 'revocations') or '0'
if not string.match(revocations, '^%d+$') then
  revocations = '0'
  redis.call('HSET', KEYS[1], 'revocations', revocations)
end

-- One that was interrupted goes on in its own chapter: what was applied by then stands in it.
if ARGV[4] == 'lost' or not redis.call('HGET', KEYS[1], 'mending') then
  local chapters = ''
  if ARGV[4] == 'behind' and id ~= '' then
    chapters = id .. ':' .. revocations .. ',' .. (redis.call('HGET', KEYS[1], 'chapters') or '')
    -- The oldest go: rows from then are applied again, which changes nothing.
    local count, stop = 0, 0
    for at in string.gmatch(chapters, '(),') do
      count, stop = count + 1, at
      if count == 100 then break end
    end
    chapters = string.sub(chapters, 1, stop)
  end
  redis.call('HSET', KEYS[1], 'store_id', ARGV[3], 'chapters', chapters, 'mending', 1)
  if ARGV[4] == 'lost' then
    local time = redis.call('TIME')
    local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    redis.call('HSET', KEYS[1], 'born_ms', ARGV[5] == '' and now or ARGV[5])
  end
end
return redis.call('HMGET', KEYS[1], 'store_id', 'revocations', 'chapters')
