-- wrk script: purchases without work, under the lock named by the LOCK variable, of as many products as
-- PRODUCTS says; losers do what RETRY says.
local lock = os.getenv("LOCK") or "safe"
local products = tonumber(os.getenv("PRODUCTS") or 1000)
local retry = os.getenv("RETRY") or "none"
local path = "/purchase?delay=0&wait=30s&retry=" .. retry .. "&lock=" .. lock .. "&product=bench-"
local n = 0

request = function()
  n = n + 1
  return wrk.format("POST", path .. n % products)
end
