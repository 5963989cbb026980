-- The log from an entry on, and the marker of the same moment. KEYS: log, marker.
-- ARGV: the entry's id, or "$" for the end of the log; how many entries at most.
-- As in marker.lua: only a server that takes writes may say that there is nothing new.
local proof = redis.pcall('HDEL', KEYS[2], '')
if type(proof) == 'table' and proof.err then
  if string.find(proof.err, 'WRONGTYPE', 1, true) then return { { false, false, false, false, false }, '0', {} } end
  if not string.find(proof.err, 'MISCONF', 1, true) then return proof end
end
local marker = redis.call('HMGET', KEYS[2], 'store_id', 'born_ms', 'not_before', 'revocations', 'mending')
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local entries = {}
-- Damaged by hand it is no stream: then it ends where nothing has, and the numbers tell.
if redis.call('TYPE', KEYS[1]).ok == 'stream' then
  if ARGV[1] == '$' then
    entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  else
    entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
  end
end
return { marker, now_ms, entries }
