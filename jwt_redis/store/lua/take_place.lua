-- A place in the status lists that nobody had before. KEYS: marker, the list that is being filled (a hash).
-- ARGV: the id of the store that is trusted ("" to take any), the place given up, if any; for how many seconds the
-- list has to be there, the size of a list, how many places of it are given, a name should one be begun, and some
-- places by lot.
local former, seconds, size, most, fresh = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local FIRST = 7
local marker = redis.call('HMGET', KEYS[1], 'store_id', 'not_before')
if not marker[1] or (ARGV[1] ~= '' and marker[1] ~= ARGV[1]) then
  return redis.error_reply('UNTRUSTED this is another store than the one that was trusted')
end
-- A store that is another one, or from whose past nobody is trusted, begins new lists: all former ones are withdrawn.
local chapter = string.sub(redis.sha1hex(marker[1] .. '.' .. (marker[2] or '0')), 1, 10)
if string.sub(former, 1, 11) == chapter .. '.' then return former end

if redis.call('TYPE', KEYS[2]).ok ~= 'hash' then redis.call('DEL', KEYS[2]) end
local found = redis.call('HMGET', KEYS[2], 'list', 'given', 'size')
local list, given = found[1] or '', tonumber(found[2]) or 0

local function keys_of(name)
  local key = KEYS[2] .. ':' .. name
  return key, key .. ':given'
end

local function begin()
  if list ~= '' then
    local _, former_given = keys_of(list)
    redis.call('DEL', former_given)
  end
  list, given = chapter .. '.' .. fresh, 0
  local ended, taken = keys_of(list)
  redis.call('SETBIT', ended, size - 1, 0)
  redis.call('SETBIT', taken, size - 1, 0)
end

local ended, taken = keys_of(list)
local fits = string.sub(list, 1, 11) == chapter .. '.' and tonumber(found[3]) == size and given < most
if not (fits and redis.call('TYPE', ended).ok == 'string' and redis.call('TYPE', taken).ok == 'string') then begin() end

local function take()
  local _, key = keys_of(list)
  for i = FIRST, #ARGV do
    if redis.call('SETBIT', key, ARGV[i], 1) == 0 then return ARGV[i] end
  end
  return nil
end

local index = take()
if not index then
  -- Hardly ever: all of them were taken.
  begin()
  index = take()
end
redis.call('HSET', KEYS[2], 'list', list, 'given', given + 1, 'size', string.format('%.0f', size))
ended, taken = keys_of(list)
for _, key in ipairs({ KEYS[2], ended, taken }) do
  local left = redis.call('TTL', key)
  if left < seconds then redis.call('EXPIRE', key, string.format('%.0f', seconds)) end
end
return list .. '.' .. index
