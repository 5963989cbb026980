-- Reads the marker, and Redis' clock of the same moment (ms). KEYS: marker.
-- Removing a field that is never there changes nothing, and proves that this server takes writes: a replica, and a
-- primary that has lost its replicas (min-replicas-to-write), refuse. A full disk (MISCONF) is no such sign.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local proof = redis.pcall('HDEL', KEYS[1], '')
if type(proof) == 'table' and proof.err then
  if string.find(proof.err, 'WRONGTYPE', 1, true) then return { now, false, false, false, false, false, false } end
  if not string.find(proof.err, 'MISCONF', 1, true) then return proof end
end
return { now, unpack(redis.call('HMGET', KEYS[1], 'store_id', 'born_ms', 'not_before', 'revocations', 'mending', 'refused_keys')) }
