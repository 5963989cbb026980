-- Reads the marker. KEYS: marker.
-- Removing a field that is never there changes nothing, and proves that this server takes writes: a replica, and a
-- primary that has lost its replicas (min-replicas-to-write), refuse. A full disk (MISCONF) is no such sign.
local proof = redis.pcall('HDEL', KEYS[1], '')
if type(proof) == 'table' and proof.err then
  if string.find(proof.err, 'WRONGTYPE', 1, true) then return { false, false, false, false, false } end
  if not string.find(proof.err, 'MISCONF', 1, true) then return proof end
end
return redis.call('HMGET', KEYS[1], 'store_id', 'born_ms', 'not_before', 'revocations', 'mending')
