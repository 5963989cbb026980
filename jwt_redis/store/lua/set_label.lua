-- Names a session, or takes its name away ("").
local sid, label = unpack(ARGV, FIRST)
load()
if not live(sid) then return reply(0) end
if label == '' then
  redis.call('HDEL', DEVICES, 'label:' .. sid)
else
  redis.call('HSET', DEVICES, 'label:' .. sid, label)
end
settle()
return reply(1)
