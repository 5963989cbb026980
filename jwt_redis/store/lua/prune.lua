-- Drops what has run out, devices without a session among it. With "1" it only counts. Then the moment, in ms, before
-- which no session is trusted: it says how many are alive.
local dry_run, trusted_from = ARGV[FIRST] == '1', tonumber(ARGV[FIRST + 1])
load(dry_run)
local orphans = {}
if redis.call('TYPE', DEVICES).ok == 'hash' then
  for _, field in ipairs(redis.call('HKEYS', DEVICES)) do
    local sid = string.match(field, '^%l+:(.+)$')
    if not sid or not sessions[sid] or sessions[sid].ended_until then orphans[#orphans + 1] = field end
  end
end
if not dry_run then
  del_fields(DEVICES, orphans)
  settle()
end
local alive = 0
for sid, s in pairs(sessions) do
  if live(sid) and (is_adopted(sid) and s.used_ms or s.opened_ms) >= trusted_from then alive = alive + 1 end
end
return reply(removed, #orphans, alive)
