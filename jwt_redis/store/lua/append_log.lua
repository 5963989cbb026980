-- In Cluster: the log entries of a script that ran in the user's slot. KEYS: log, marker.
-- ARGV: the log's horizon in seconds, the user, then kind, id, until, reason of each entry, and its places in the
-- status lists.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = string.format('%.0f', now_ms - tonumber(ARGV[1]) * 1000)
for i = 3, #ARGV, 5 do
  local number = redis.call('HINCRBY', KEYS[2], 'revocations', 1)
  redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'number', number,
    'kind', ARGV[i], 'user', ARGV[2], 'id', ARGV[i + 1], 'until', ARGV[i + 2], 'reason', ARGV[i + 3])
  for list, index in string.gmatch(ARGV[i + 4], '([%w_.-]+)%.(%d+)') do
    local key = KEYS[1] .. ':status:' .. list
    local is_there = redis.call('TYPE', key).ok == 'string'
    if is_there and tonumber(index) < redis.call('STRLEN', key) * 8 then redis.call('SETBIT', key, index, 1) end
  end
end
return #ARGV
