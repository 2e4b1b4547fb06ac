-- wrk script: purchases under the lock named by the LOCK variable, of as many products as PRODUCTS says, whose
-- names begin with NAME; what else a buyer asks for is QUERY: no work, and losers give up. With COUNT set, the
-- answers are read, and their outcomes printed: that costs wrk more than it costs the server.
local lock = os.getenv("LOCK") or "safe"
local products = tonumber(os.getenv("PRODUCTS") or 1000)
local name = os.getenv("NAME") or "bench"
local query = os.getenv("QUERY") or "delay=0&wait=30s&retry=none"
local path = "/purchase?" .. query .. "&lock=" .. lock .. "&product=" .. name .. "-"
local n = 0

if os.getenv("COUNT") then
  sold, busy, other = 0, 0, 0
  response = function(_, _, body)
    if body:find('"outcome":"sold"', 1, true) then
      sold = sold + 1
    elseif body:find('"outcome":"busy"', 1, true) then
      busy = busy + 1
    else
      other = other + 1
    end
  end
  setup = function(thread) counting = thread end
  done = function()
    print("outcomes", counting:get("sold"), counting:get("busy"), counting:get("other"))
  end
end

request = function()
  n = n + 1
  return wrk.format("POST", path .. n % products)
end
