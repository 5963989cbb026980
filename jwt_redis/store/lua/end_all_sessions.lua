-- Ends all of a user's sessions, and refuses every token of the user's that has no session, up to a moment.
local why, before = unpack(ARGV, FIRST)
load()
local ended, moment_ms = end_sessions_before(before, nil, why)
if moment_ms > (not_before_ms or 0) then
  not_before_ms = moment_ms
  redis.call('HSET', USER, 'not_before', int(moment_ms))
  revoked('user', '', NOW + NOT_BEFORE_LIFE, why)
end
settle()
return reply_written(moment_ms, ended)
