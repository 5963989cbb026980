-- Ends all of a user's sessions but one.
local why, kept = ARGV[FIRST], ARGV[FIRST + 1]
load()
local ended = {}
for sid, s in pairs(sessions) do
  if sid ~= kept and not s.ended_until then ended[#ended + 1] = sid end
end
table.sort(ended)
for _, sid in ipairs(ended) do end_session(sid, why) end
settle()
return reply(ended)
