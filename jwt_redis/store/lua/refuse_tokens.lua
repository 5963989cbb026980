-- Refuses tokens, whosever they are. KEYS: one for each of them, and on a single node the log and the marker.
-- ARGV: the id of the store that is trusted ("" to take any), how many there are, seconds to keep one past its end, the
-- log's horizon in seconds, "1" if each is to be told in the log, the reason, then pairs of jti and exp.
local COUNT = tonumber(ARGV[2])
local LOG, MARKER = KEYS[COUNT + 1], KEYS[COUNT + 2]
if MARKER and ARGV[1] ~= '' and redis.call('HGET', MARKER, 'store_id') ~= ARGV[1] then
  return redis.error_reply('UNTRUSTED this is another store than the one that was trusted')
end
local keep, horizon, each, why = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6]
local time = redis.call('TIME')
local now = tonumber(time[1])
local now_ms = now * 1000 + math.floor(tonumber(time[2]) / 1000)
local function int(number) return string.format('%.0f', number) end

local revocations, added = {}, 0
for i = 1, COUNT do
  local key, jti, exp = KEYS[i], ARGV[5 + 2 * i], tonumber(ARGV[6 + 2 * i])
  if exp + keep > now then
    local known = redis.call('TYPE', key).ok == 'string' and tonumber(redis.call('GET', key)) or 0
    if known < exp then
      redis.call('SET', key, int(exp))
      redis.call('EXPIREAT', key, int(exp + keep))
    end
    if known == 0 then added = added + 1 end
    -- In Cluster the first time may not have reached the log.
    if each and (known == 0 or not LOG) then revocations[#revocations + 1] = { 'token', jti, int(exp), why, '' } end
  end
end
-- Where near caches vouch for no such token, it is enough to be counted.
if added > 0 and #revocations == 0 then revocations[1] = { 'adopted', '', int(now), why, '' } end
if LOG then
  for _, r in ipairs(revocations) do
    local number = redis.call('HINCRBY', MARKER, 'revocations', 1)
    redis.call('XADD', LOG, 'MINID', '~', int(now_ms - horizon * 1000), '*', 'number', number,
      'kind', r[1], 'user', '!', 'id', r[2], 'until', r[3], 'reason', r[4])
  end
end
local stamp = MARKER and redis.call('HMGET', MARKER, 'store_id', 'revocations') or { false, false }
-- For how long each matters, whoever asks knows.
return { revocations, { stamp[1] or '', stamp[2] or '0', int(now_ms), '0' }, added }
