-- Keeps that something was there. Its value is "since.until": ms and s of the epoch.
-- KEYS: what is known of one user. ARGV: the field, seconds to keep it, since when in ms ("" is now).
-- Replies with since when it was known before ('' if it was not), and how many others of its kind are.
local field, seconds, at = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local KNOWN, MOST = KEYS[1], 100

local time = redis.call('TIME')
local now = tonumber(time[1])
local now_ms = now * 1000 + math.floor(tonumber(time[2]) / 1000)
local function int(number) return string.format('%.0f', number) end

local kind = redis.call('TYPE', KNOWN).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KNOWN) end

local all = redis.call('HGETALL', KNOWN)
local since_before, others, latest = nil, {}, now + seconds
for i = 1, #all, 2 do
  local since, till = string.match(all[i + 1], '^(%d+)%.(%d+)$')
  since, till = tonumber(since), tonumber(till)
  if not till or till <= now then
    redis.call('HDEL', KNOWN, all[i])
  else
    latest = math.max(latest, till)
    if all[i] == field then
      since_before = since
    elseif string.match(all[i], '^(.-):') == string.match(field, '^(.-):') then
      others[#others + 1] = { all[i], till }
    end
  end
end

-- Whoever signs in with ever another user agent does not fill the store.
table.sort(others, function(a, b) return a[2] < b[2] end)
for i = 1, #others - MOST + 1 do redis.call('HDEL', KNOWN, others[i][1]) end

local since = math.min(since_before or now_ms, at or now_ms)
redis.call('HSET', KNOWN, field, int(since) .. '.' .. int(now + seconds))
redis.call('EXPIREAT', KNOWN, int(latest))

-- Of two sign-ins at a time the earlier one is the new one, whichever asks first.
local is_before = since_before and (not at or since_before < at)
return { is_before and int(since_before) or '', #others }
