-- Decides about all limits of a request: charges all of them, or none.
-- KEYS     one per check; its value is the time at which the whole limit is available, in microseconds of Redis's clock
-- ARGV     1 to charge, 0 to only check; then per check: interval and tolerance in microseconds, and cost; then per
--          check: microseconds until the whole limit is available as the caller knows, in case Redis was restarted
-- returns  a status line, which is cheaper to parse than an array. For each check, separated by spaces: allowed (0, 1),
--          remaining, microseconds until it would be allowed, microseconds until the whole limit is available
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = redis.call('MGET', unpack(KEYS))
local answer, charges, allowed = {}, {}, true

for i = 1, #KEYS do
  local interval, tolerance = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local cost, used = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * #KEYS + 1 + i])
  local used_until = math.max(tonumber(stored[i] or 0), now + used)
  local charged = used_until + interval * cost
  local spare = now + tolerance - charged
  charges[i] = charged
  -- Formatted explicitly, because Lua writes large numbers with an exponent.
  if spare >= 0 then
    answer[i] = string.format('1 %.0f 0 %.0f', math.floor(spare / interval), charged - now)
  else
    allowed = false
    local remaining = math.max(0, math.floor((now + tolerance - used_until) / interval))
    answer[i] = string.format('0 %.0f %.0f %.0f', remaining, -spare, used_until - now)
  end
end

if allowed and ARGV[1] == '1' then
  for i = 1, #KEYS do
    -- After that time, the key has no effect.
    redis.call('SET', KEYS[i], string.format('%.0f', charges[i]), 'PX', math.ceil((charges[i] - now) / 1000) + 1)
  end
end
return redis.status_reply(table.concat(answer, ' '))
