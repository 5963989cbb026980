-- Refuses one token until it expires.
local jti, exp, why, sid = unpack(ARGV, FIRST)
exp = tonumber(exp)
load()

-- Of a session's tokens the status lists know one place. It is given up, and the next refresh gets another. Whose
-- session is not known ("") may be any of the user's.
local function burn()
  local found, fields = {}, {}
  for other, place in pairs(places) do
    if (sid == '' or sid == other) and live(other) then
      found[#found + 1] = place
      fields[#fields + 1] = 'status:' .. other
    end
  end
  if #found == 0 then return '' end
  table.sort(found)
  burnt[jti] = table.concat(found, ',')
  redis.call('HSET', USER, 'burnt:' .. jti, burnt[jti])
  del_fields(USER, fields)
  return burnt[jti]
end

local added = 0
if not listed[jti] and exp + KEEP > NOW then
  listed[jti] = exp
  redis.call('HSET', USER, 'blacklist:' .. jti, int(exp))
  revoked('token', jti, exp, why, burn())
  added = 1
elseif not LOG then
  revoked('token', jti, exp, why, burnt[jti]) -- the first time may not have reached the log
elseif burnt[jti] then
  mark(LOG, burnt[jti])
end
settle()
use_until = exp
return reply_written(NOW_MS, added)
