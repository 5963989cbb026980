-- Ends all of a user's sessions, and refuses every token of the user's from before now that has no session.
local why = ARGV[FIRST]
load()
local ended = {}
for sid, s in pairs(sessions) do
  if not s.ended_until then ended[#ended + 1] = sid end
end
table.sort(ended)
for _, sid in ipairs(ended) do end_session(sid, why) end
not_before_ms = NOW_MS
redis.call('HSET', USER, 'not_before', int(NOW_MS))
revoked('user', '', NOW + NOT_BEFORE_LIFE, why)
settle()
return reply(ended)
