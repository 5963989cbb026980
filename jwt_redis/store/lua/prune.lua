-- Drops what has run out, devices without a session among it. With "1" it only counts.
local dry_run = ARGV[FIRST] == '1'
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
return reply(removed, #orphans)
