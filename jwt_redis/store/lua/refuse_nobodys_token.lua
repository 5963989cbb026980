-- Refuses a token of which nobody knows whose it is. KEYS: its key, twice, and on a single node the log and the marker.
-- ARGV: the id of the store that is trusted ("" to take any), seconds to keep it past its end, the log's horizon in
-- seconds, the jti, its exp, the reason.
local KEY, LOG, MARKER = KEYS[1], KEYS[3], KEYS[4]
if MARKER and ARGV[1] ~= '' and redis.call('HGET', MARKER, 'store_id') ~= ARGV[1] then
  return redis.error_reply('UNTRUSTED this is another store than the one that was trusted')
end
local keep, horizon, jti, exp, why = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = tonumber(time[1])
local now_ms = now * 1000 + math.floor(tonumber(time[2]) / 1000)
local function int(number) return string.format('%.0f', number) end

local revocations, added = {}, 0
if exp + keep > now then
  local known = redis.call('TYPE', KEY).ok == 'string' and tonumber(redis.call('GET', KEY)) or 0
  if known < exp then
    redis.call('SET', KEY, int(exp))
    redis.call('EXPIREAT', KEY, int(exp + keep))
  end
  if known == 0 then added = 1 end
  -- In Cluster the first time may not have reached the log.
  if added == 1 or not LOG then revocations[1] = { 'token', jti, int(exp), why } end
end
if LOG and #revocations > 0 then
  local number = redis.call('HINCRBY', MARKER, 'revocations', 1)
  redis.call('XADD', LOG, 'MINID', '~', int(now_ms - horizon * 1000), '*', 'number', number,
    'kind', 'token', 'user', '!', 'id', jti, 'until', int(exp), 'reason', why)
end
local stamp = MARKER and redis.call('HMGET', MARKER, 'store_id', 'revocations') or { false, false }
return { revocations, { stamp[1] or '', stamp[2] or '0', int(now_ms), int(exp) }, added }
