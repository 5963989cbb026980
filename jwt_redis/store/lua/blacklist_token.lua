-- Refuses one token until it expires.
local jti, exp, why = unpack(ARGV, FIRST)
exp = tonumber(exp)
load()
local added = 0
if not listed[jti] and exp + KEEP > NOW then
  listed[jti] = exp
  redis.call('HSET', USER, 'blacklist:' .. jti, int(exp))
  revoked('token', jti, exp, why)
  added = 1
elseif not LOG then
  revoked('token', jti, exp, why) -- the first time may not have reached the log
end
settle()
use_until = exp
return reply_written(NOW_MS, added)
