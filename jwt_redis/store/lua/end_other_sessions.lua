-- Ends all of a user's sessions but one, up to a moment.
local why, kept, before = unpack(ARGV, FIRST)
load()
local ended, moment_ms = end_sessions_before(before, kept, why)
settle()
return reply_written(moment_ms, ended)
