-- Ends the sessions named. With "1" also one that the store does not know gets its tombstone.
local why, unknown_too = ARGV[FIRST], ARGV[FIRST + 1] == '1'
load()
local ended = {}
for i = FIRST + 2, #ARGV do
  local sid = ARGV[i]
  if sessions[sid] or unknown_too then
    if end_session(sid, why) then ended[#ended + 1] = sid end
  else
    -- Evicted, perhaps; a near cache may still think that it is alive.
    revoked('session', sid, NOW + ACCESS_LIFE, why, places[sid])
  end
end
settle()
return reply_written(NOW_MS, ended)
