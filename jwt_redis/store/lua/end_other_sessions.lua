-- Ends all of a user's sessions but one, up to a moment.
local why, kept, before = unpack(ARGV, FIRST)
load()
local ended, moment_ms = end_sessions_before(before, kept, why)
-- Where absence accepts, those count too whose record the store has lost. The kept one is judged by its record.
if LASTING then refuse_without_record(moment_ms, why) end
-- And near caches ask about this user, whose sessions may have been evicted.
revoked('others', kept, NOW + ACCESS_LIFE, why, places_of_ended())
settle()
return reply_written(moment_ms, ended)
