-- Where a live session stands in the status lists from now on, in place of where it stood. Two at once agree.
local sid, former, place = unpack(ARGV, FIRST)
load()
local found = ''
if live(sid) then
  -- Also where it has given up its place meanwhile.
  if not places[sid] or places[sid] == former then
    places[sid] = place
    redis.call('HSET', USER, 'status:' .. sid, place)
  end
  found = places[sid]
end
settle()
return reply(found)
