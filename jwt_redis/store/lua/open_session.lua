-- A sign-in: the session's record, its device, and the oldest sessions ended where there are too many.
local sid, lifetime, max_age, max_sessions, nonce, fingerprint, device, place = unpack(ARGV, FIRST)
load()
local s = live(sid)
if not (s and s.nonce == nonce) then -- else a resend whose reply was lost
  local expires_at = NOW + math.min(tonumber(lifetime), tonumber(max_age))
  s = {
    rotation = 0, opened_ms = NOW_MS, used_ms = NOW_MS, expires_at = expires_at,
    ends_at = NOW + tonumber(max_age), nonce = nonce, fingerprint = fingerprint,
  }
  put(sid, s)
  if device ~= '' then redis.call('HSET', DEVICES, 'device:' .. sid, device) end
end

-- Each attempt has a place of its own, and it is the last one's that the token will name.
if place ~= '' then redis.call('HSET', USER, 'status:' .. sid, place) end

-- One that made room for an attempt whose log entry was lost is not named again by this one.
for other, found in pairs(sessions) do
  if found.why == 'max_sessions' then note_ended(other) end
end

local ended = make_room(sid, max_sessions)
settle()
return reply(s.text, ended)
