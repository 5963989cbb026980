-- The password's hash was upgraded, the password is the same: both hashes' fingerprints are good from here on.
-- ARGV: triples of sid, fingerprint of the old hash, of the new one.
load()
local rebound = 0
for i = FIRST, #ARGV, 3 do
  local s = live(ARGV[i])
  local old, new = ARGV[i + 1], ARGV[i + 2]
  if s and string.find(s.fingerprint, old, 1, true) and not string.find(s.fingerprint, new, 1, true) then
    s.fingerprint = new .. old
    put(ARGV[i], s)
    rebound = rebound + 1
  end
end
settle()
return reply(rebound)
