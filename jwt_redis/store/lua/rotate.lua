-- A refresh token is used. All of rotation is decided here, on one key, so that nothing slips in between.
local sid, jti, presented, nonce, grace_ms, lifetime, fingerprints, device, not_before, born, rotating, legacy_end, iat, max_age, max_sessions, observing, kid = unpack(ARGV, FIRST)
presented, grace_ms, lifetime = tonumber(presented), tonumber(grace_ms), tonumber(lifetime)
legacy_end, iat, max_age = tonumber(legacy_end), tonumber(iat), tonumber(max_age)
-- A key or a field that cannot be read may have said that this token is refused.
local kind = redis.call('TYPE', USER).ok
local is_damaged = legacy_end > 0 and kind ~= 'hash' and kind ~= 'none'
load()
if legacy_end > 0 and not is_damaged then
  local found = redis.call('HMGET', USER, 'sid:' .. sid, 'not_before')
  is_damaged = (found[1] and not sessions[sid]) or (found[2] and not not_before_ms)
end
local s = live(sid)
local has_ended, has_adopted, made_room = false, false, {}
local KEPT_HOURS = 31 * 24

-- By the hour, for the admin's chart, where the log is in reach. A server that does not let us (ACL) refuses no refresh
-- for that: its chart stays empty.
local function count_refresh()
  if not LOG then return end
  local key, hour = LOG .. ':refreshes', math.floor(NOW / 3600)
  if redis.pcall('HINCRBY', key, int(hour), 1) ~= 1 then return end
  redis.pcall('EXPIREAT', key, int((hour + KEPT_HOURS) * 3600))
  local hours, old = redis.pcall('HKEYS', key), {}
  for _, field in ipairs(hours) do
    if (tonumber(field) or 0) <= hour - KEPT_HOURS then old[#old + 1] = field end
  end
  if #old > 0 then redis.pcall('HDEL', key, unpack(old)) end
end

local function answer(outcome, reason)
  settle()
  return reply(outcome, reason or '', sessions[sid] and sessions[sid].text or '', has_ended and 1 or 0,
    has_adopted and 1 or 0, made_room, places[sid] or '')
end

-- On a single node by the marker itself, as the caller's copy may be a second old: what everything was revoked for must
-- not be exchanged meanwhile, and whoever has stolen a key must not exchange what it signed for what another did.
local marker = MARKER and redis.call('HMGET', MARKER, 'refused_keys', 'not_before') or {}
local refused, all_revoked_ms = marker[1], tonumber(marker[2] or '') or tonumber(not_before)
if refused and string.find(',' .. refused .. ',', ',' .. kid .. ',', 1, true) then return answer('gone', 'key_revoked') end

-- A token from before there were sessions gets one, once. It counts as opened when the token was issued: whatever was
-- revoked since then ends it, also what reaches this store late.
if is_damaged then return answer('gone', 'no_session') end
local first_print = string.match(fingerprints, '^[^,]+') or ''
if legacy_end > 0 and not sessions[sid] and not listed[jti] then
  local opened_ms = math.min(iat * 1000, NOW_MS)
  if opened_ms <= (not_before_ms or 0) then return answer('gone', 'user_revoked') end
  if opened_ms <= all_revoked_ms then return answer('gone', 'all_revoked') end
  local ends_at = math.floor(opened_ms / 1000) + max_age
  if math.min(legacy_end, ends_at) <= NOW then return answer('gone', 'session_expired') end
  s = {
    rotation = 0, opened_ms = opened_ms, used_ms = NOW_MS, expires_at = math.min(legacy_end, ends_at),
    ends_at = ends_at, nonce = '-', fingerprint = first_print,
  }
  sessions[sid] = s
  has_adopted = true
  made_room = make_room(sid, max_sessions)
end

if listed[jti] then return answer('gone', 'token_blacklisted') end
if not s then
  note_ended(sid)
  if not sessions[sid] then return answer('gone', 'no_session') end
  return answer('gone', sessions[sid].ended_until and 'session_ended' or 'session_expired')
end
if s.opened_ms <= all_revoked_ms then return answer('gone', 'all_revoked') end
if (is_adopted(sid) and s.used_ms or s.opened_ms) < tonumber(born) then return answer('gone', 'store_lost') end

-- The first fingerprint is today's; the others are the same password under a former key.
local first, known = nil, fingerprints == '' or s.fingerprint == ''
for print in string.gmatch(fingerprints, '[^,]+') do
  first = first or print
  if string.find(s.fingerprint, print, 1, true) then known = true end
end
-- Whoever only looks on ends nothing, and is told why it would be.
if not known and observing == '1' then return answer('gone', 'password_changed') end
if not known then
  has_ended = end_session(sid, 'password_changed')
  return answer('gone', 'session_ended')
end

if presented > s.rotation and observing == '1' then return answer('ahead', 'store_lost') end
if presented > s.rotation then
  has_ended = end_session(sid, 'store_rolled_back')
  return answer('ahead', 'store_lost')
end
if presented == s.rotation then
  s.used_ms = NOW_MS
  if rotating == '1' then
    s.rotation = s.rotation + 1
    s.nonce = nonce
    s.expires_at = math.min(NOW + lifetime, s.ends_at)
  else
    s.nonce = '-' -- not a rotation: it grants no grace
  end
  -- One that holds two (a hasher upgrade) still has the first at one of its ends.
  if first and not string.find(s.fingerprint, first, 1, true) then s.fingerprint = first end
  put(sid, s)
  if device ~= '' then redis.call('HSET', DEVICES, 'device:' .. sid, device) end
  count_refresh()
  return answer(rotating == '1' and 'rotated' or 'touched')
end
-- Strictly within grace: with <=, two in one millisecond would slip through at grace 0.
local graceful = s.nonce == nonce or (s.nonce ~= '-' and NOW_MS - s.used_ms < grace_ms)
if rotating == '1' and presented == s.rotation - 1 and graceful then return answer('grace') end
if observing == '1' then return answer('reuse', 'session_ended') end
has_ended = end_session(sid, 'refresh_token_reused')
return answer('reuse', 'session_ended')
