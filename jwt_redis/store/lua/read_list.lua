-- A status list, signed a moment ago, or its bits for whoever is to sign it now. KEYS: marker, the bits.
-- ARGV: the id of the store that is trusted ("" to take any), the list's chapter, for how many ms a signed list is good.
local marker = redis.call('HMGET', KEYS[1], 'store_id', 'not_before', 'mending', 'refused_keys')
if not marker[1] or marker[3] or (ARGV[1] ~= '' and marker[1] ~= ARGV[1]) then
  return redis.error_reply('UNTRUSTED this is another store than the one that was trusted')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local is_current = string.sub(redis.sha1hex(marker[1] .. '.' .. (marker[2] or '0')), 1, 10) == ARGV[2]
local has_bits = is_current and redis.call('TYPE', KEYS[2]).ok == 'string'
local good_for = tonumber(ARGV[3])
local refused = marker[4] or ''

-- Of a list that is withdrawn none is served that was signed before; and none by a key that is refused since.
local signed = KEYS[2] .. (has_bits and ':signed' or ':withdrawn')
local text = redis.pcall('GET', signed)
if type(text) == 'string' then
  local signed_at, kid = string.match(text, '^(%d+)|([^|]+)|')
  local age = signed_at and now - tonumber(signed_at) or -1
  local is_good = kid and not string.find(',' .. refused .. ',', ',' .. kid .. ',', 1, true)
  if is_good and age >= 0 and age < 2 * good_for then
    -- One signs it anew, and the others take what there is meanwhile.
    if age < good_for or not redis.call('SET', KEYS[2] .. ':signing', '1', 'NX', 'PX', math.max(1, math.floor(good_for / 2))) then
      return { string.format('%.0f', now), text, '', refused }
    end
  end
end
if not has_bits then return { string.format('%.0f', now), '', 'withdrawn', refused } end
-- As text: a client that decodes what it reads takes no bytes.
local bits = redis.call('GET', KEYS[2])
local hex = {}
for byte = 0, 255 do hex[string.char(byte)] = string.format('%02x', byte) end
return { string.format('%.0f', now), '', 'bits', refused, (string.gsub(bits, '.', hex)) }
