-- A token from before there were sessions was given this one. Where that is lost, its tombstone takes its place.
local sid = ARGV[FIRST]
load()
use_until = NOW + NOT_BEFORE_LIFE
local added = 0
if not sessions[sid] and end_session(sid, 'adopted') then added = 1 end
-- It counts as a revocation: a store that lacks it has to be told.
if added == 0 then revoked('adopted', sid, use_until, 'adopted') end
settle()
return reply_written(NOW_MS, added)
