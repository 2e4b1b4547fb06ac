-- wrk script: purchases of many products, without work, under the lock named by the LOCK variable.
local lock = os.getenv("LOCK") or "safe"
local n = 0

request = function()
  n = n + 1
  return wrk.format("POST", "/purchase?delay=0&lock=" .. lock .. "&product=bench-" .. n % 1000)
end
