-- A sign-in: the session's record, its device, and the oldest sessions ended where there are too many.
local sid, lifetime, max_age, max_sessions, nonce, fingerprint, device = unpack(ARGV, FIRST)
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

-- One that made room for an attempt whose log entry was lost is not named again by this one.
for other, found in pairs(sessions) do
  if found.why == 'max_sessions' then note_ended(other) end
end

local ended = {}
if tonumber(max_sessions) > 0 then
  local others = {}
  for other in pairs(sessions) do
    if other ~= sid and live(other) then others[#others + 1] = other end
  end
  table.sort(others, function(a, b)
    if sessions[a].opened_ms ~= sessions[b].opened_ms then return sessions[a].opened_ms < sessions[b].opened_ms end
    return a < b
  end)
  for i = 1, #others + 1 - tonumber(max_sessions) do
    end_session(others[i], 'max_sessions')
    ended[#ended + 1] = others[i]
  end
end
settle()
return reply(s.text, ended)
