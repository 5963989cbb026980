-- Ends all of a user's sessions, and refuses every token of the user's that has no session, up to a moment.
local why, before = unpack(ARGV, FIRST)
load()
local ended, moment_ms = end_sessions_before(before, nil, why)
refuse_without_record(moment_ms, why)
settle()
return reply_written(moment_ms, ended)
