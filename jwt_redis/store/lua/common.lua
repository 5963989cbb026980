-- Put in front of every script that changes one user's state. Redis' own clock is the only one.
-- KEYS: user hash, devices hash, and on a single node the log and the marker (in Cluster they live in another
-- slot: the caller appends what this returns).
local USER, DEVICES, LOG, MARKER = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- ARGV: the id of the store that is trusted ("" to take any), seconds to keep a field past its end, seconds a log entry is of use, seconds a user's not-before is of
-- use, the longest access lifetime, "1" if a tombstone must outlive every access token.
local KEEP, HORIZON, NOT_BEFORE_LIFE, ACCESS_LIFE = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local LASTING = ARGV[6] == '1'
local FIRST = 7

-- An emptied store is given birth to before anything is written to it: what is older than that is not trusted.
if MARKER and ARGV[1] ~= '' and redis.call('HGET', MARKER, 'store_id') ~= ARGV[1] then
  return redis.error_reply('UNTRUSTED this is another store than the one that was trusted')
end

local time = redis.call('TIME')
local NOW = tonumber(time[1])
local NOW_MS = NOW * 1000 + math.floor(tonumber(time[2]) / 1000)

local function int(number) return string.format('%.0f', number) end

-- Sessions -----------------------------------------------------------------------------------------------------

local function parse(text)
  local rotation, opened, used, expires, ends, nonce, fingerprint =
    string.match(text, '^(%d+)%.(%d+)%.(%d+)%.(%d+)%.(%d+)%.([%w_-]+)%.([%w_-]*)$')
  if rotation then
    local opened_ms = tonumber(opened)
    local opened_s = math.floor(opened_ms / 1000)
    return {
      rotation = tonumber(rotation), opened_ms = opened_ms, used_ms = opened_ms + tonumber(used),
      expires_at = opened_s + tonumber(expires), ends_at = opened_s + tonumber(ends),
      nonce = nonce, fingerprint = fingerprint, text = text,
    }
  end
  local ended_until, why = string.match(text, '^ended%.(%d+)%.([%w_]+)$')
  if ended_until then return { ended_until = tonumber(ended_until), why = why, text = text } end
  return nil
end

local function pack(s)
  local opened_s = math.floor(s.opened_ms / 1000)
  local function since(moment, start) return int(math.max(0, moment - start)) end -- a clock may step back
  return table.concat({
    int(s.rotation), int(s.opened_ms), since(s.used_ms, s.opened_ms), since(s.expires_at, opened_s),
    since(s.ends_at, opened_s), s.nonce, s.fingerprint,
  }, '.')
end

-- State --------------------------------------------------------------------------------------------------------

local sessions, listed, not_before_ms = {}, {}, nil
-- With STATUS_LIST: where each session stands in the status lists, and where tokens stood that were listed alone.
local places, burnt = {}, {}
local revocations = {}
local removed = 0

local function del_fields(key, fields)
  for first = 1, #fields, 1000 do
    redis.call('HDEL', key, unpack(fields, first, math.min(first + 999, #fields)))
  end
end

local function forget_devices(sids)
  local fields = {}
  for _, sid in ipairs(sids) do
    fields[#fields + 1] = 'device:' .. sid
    fields[#fields + 1] = 'label:' .. sid
  end
  del_fields(DEVICES, fields)
end

-- Reads the user's hash and drops what has run out. A key or a value damaged by hand is treated as absent; where absence
-- accepts, what has no record is refused from then on, for it may have been refused there.
local function load(dry_run)
  local is_lost = false
  for _, key in ipairs({ USER, DEVICES }) do
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'hash' and kind ~= 'none' and not dry_run then
      redis.call('DEL', key)
      is_lost = is_lost or (key == USER and LASTING)
    end
    if kind ~= 'hash' and kind ~= 'none' and dry_run then return end
  end
  if is_lost then
    redis.call('HSET', USER, 'not_before', int(NOW_MS))
    redis.call('EXPIREAT', USER, int(NOW + NOT_BEFORE_LIFE + KEEP))
  end
  local all = redis.call('HGETALL', USER)
  local stale, stale_sids, present = {}, {}, {}
  for i = 1, #all, 2 do
    local field, value = all[i], all[i + 1]
    local sid = string.match(field, '^sid:(.+)$')
    local jti = string.match(field, '^blacklist:(.+)$')
    local placed = string.match(field, '^status:(.+)$')
    local burnt_by = string.match(field, '^burnt:(.+)$')
    if placed then
      places[placed] = value
    elseif burnt_by then
      burnt[burnt_by] = value
    elseif sid then
      local s = parse(value)
      if s and (s.ended_until or s.expires_at) + KEEP <= NOW then
        stale[#stale + 1] = field
        stale_sids[#stale_sids + 1] = sid
      else
        present[sid] = true
        sessions[sid] = s
      end
    elseif jti then
      local exp = tonumber(value)
      if exp and exp + KEEP <= NOW then stale[#stale + 1] = field else listed[jti] = exp or NOW + ACCESS_LIFE end
    elseif field == 'not_before' then
      not_before_ms = tonumber(value)
      if not_before_ms and not_before_ms / 1000 + NOT_BEFORE_LIFE + KEEP <= NOW then
        stale[#stale + 1] = field
        not_before_ms = nil
      end
    end
  end
  -- What a session leaves has to tell its place once more, where the log was not reached.
  for sid in pairs(places) do
    if not present[sid] then
      stale[#stale + 1] = 'status:' .. sid
      places[sid] = nil
    end
  end
  for jti in pairs(burnt) do
    if not listed[jti] then
      stale[#stale + 1] = 'burnt:' .. jti
      burnt[jti] = nil
    end
  end
  removed = #stale
  if not dry_run then
    del_fields(USER, stale)
    forget_devices(stale_sids)
  end
end

-- As verdicts.adopted_sid makes it.
local function is_adopted(sid) return string.sub(sid, 1, 7) == 'legacy_' end

local function live(sid)
  local s = sessions[sid]
  if s and not s.ended_until and s.expires_at > NOW then return s end
  return nil
end

local function put(sid, s)
  s.text = pack(s)
  sessions[sid] = s
  redis.call('HSET', USER, 'sid:' .. sid, s.text)
end

-- The keys expire with their latest field.
local function settle()
  local latest, latest_live = 0, 0
  for _, s in pairs(sessions) do
    latest = math.max(latest, s.ended_until or s.expires_at)
    if not s.ended_until then latest_live = math.max(latest_live, s.expires_at) end
  end
  for _, exp in pairs(listed) do latest = math.max(latest, exp) end
  if not_before_ms then latest = math.max(latest, math.floor(not_before_ms / 1000) + NOT_BEFORE_LIFE) end
  if latest > 0 then redis.call('EXPIREAT', USER, int(latest + KEEP)) end
  if latest_live > 0 then redis.call('EXPIREAT', DEVICES, int(latest_live + KEEP)) end
end

-- Revocations --------------------------------------------------------------------------------------------------

-- The latest moment at which anything that was revoked here could still be used, were it alive again.
local use_until = 0

-- append_log.lua has the same. A list that is gone counts as revoked as a whole: none is made here.
local function mark(log, at)
  for list, index in string.gmatch(at, '([%w_.-]+)%.(%d+)') do
    local key = log .. ':status:' .. list
    local is_there = redis.call('TYPE', key).ok == 'string'
    if is_there and tonumber(index) < redis.call('STRLEN', key) * 8 then redis.call('SETBIT', key, index, 1) end
  end
end

-- place: in the status lists; several have commas between them.
local function revoked(kind, id, good_until, why, place)
  revocations[#revocations + 1] = { kind, id, int(good_until), why, place or '' }
end

-- In Cluster the log is another node's: what a script has done may have failed to get there, so that doing it once
-- more has to tell it again.
local function note_ended(sid)
  local s = sessions[sid]
  if not (s and s.ended_until) then return end
  if not LOG then
    revoked('session', sid, s.ended_until, s.why, places[sid])
  elseif places[sid] then
    mark(LOG, places[sid]) -- a script that failed half-way has ended it
  end
end

-- Of all that are over: also of those that an attempt has ended which was not heard of, and of the damaged.
local function places_of_ended()
  local found = {}
  for sid, place in pairs(places) do
    if not sessions[sid] or sessions[sid].ended_until then found[#found + 1] = place end
  end
  return table.concat(found, ',')
end

-- Leaves a tombstone: it tells "ended" from "never there".
local function end_session(sid, why)
  local s = sessions[sid]
  if s and s.ended_until then
    note_ended(sid)
    return false
  end
  local ended_until = NOW + ACCESS_LIFE
  if s then use_until = math.max(use_until, s.expires_at) end
  -- The token that it began with, or was to begin with, never begins it again.
  if is_adopted(sid) then
    ended_until = math.max(ended_until, NOW + NOT_BEFORE_LIFE)
    use_until = math.max(use_until, ended_until)
  end
  if LASTING and s then ended_until = math.max(ended_until, s.expires_at) end
  local text = 'ended.' .. int(ended_until) .. '.' .. why
  sessions[sid] = { ended_until = ended_until, why = why, text = text }
  redis.call('HSET', USER, 'sid:' .. sid, text)
  forget_devices({ sid })
  revoked('session', sid, ended_until, why, places[sid])
  return true
end

-- The oldest sessions make room for this one. Which those were.
local function make_room(sid, max_sessions)
  local others, ended = {}, {}
  if tonumber(max_sessions) == 0 then return ended end
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
  return ended
end

-- Ends what was opened up to a moment ("" is now), but for one. Which those were, and the moment.
local function end_sessions_before(before, kept, why)
  before = tonumber(before) or NOW_MS
  local ended = {}
  for sid, s in pairs(sessions) do
    if sid ~= kept and not s.ended_until and s.opened_ms <= before then ended[#ended + 1] = sid end
  end
  table.sort(ended)
  for _, sid in ipairs(ended) do end_session(sid, why) end
  return ended, before
end

-- Tokens whose session is not in the store are judged by the user's not-before, which only moves forward.
local function refuse_without_record(moment_ms, why)
  if moment_ms <= (not_before_ms or 0) then
    -- Told all the same: by then a clock may have been set back, or, in Cluster, the first time was not heard.
    revoked('user', '', NOW + NOT_BEFORE_LIFE, why, places_of_ended())
    return
  end
  not_before_ms = moment_ms
  redis.call('HSET', USER, 'not_before', int(moment_ms))
  use_until = math.max(use_until, NOW + NOT_BEFORE_LIFE)
  revoked('user', '', NOW + NOT_BEFORE_LIFE, why, places_of_ended())
end

-- Numbered without gaps, so that a follower sees when it has missed one.
local function append(marker, log, user)
  for _, r in ipairs(revocations) do
    local number = redis.call('HINCRBY', marker, 'revocations', 1)
    redis.call('XADD', log, 'MINID', '~', int(NOW_MS - HORIZON * 1000), '*', 'number', number,
      'kind', r[1], 'user', user, 'id', r[2], 'until', r[3], 'reason', r[4])
    mark(log, r[5])
  end
end

local function reply(...)
  if LOG and #revocations > 0 then append(MARKER, LOG, string.match(USER, '{(.-)}')) end
  return { revocations, ... }
end

-- For the journal: of which store, and after how many of its revocations; the moment; for how long it matters.
local function reply_written(moment_ms, ...)
  local answer = reply(0, ...)
  local stamp = MARKER and redis.call('HMGET', MARKER, 'store_id', 'revocations') or { false, false }
  answer[2] = { stamp[1] or '', stamp[2] or '0', int(moment_ms), int(use_until) }
  return answer
end
