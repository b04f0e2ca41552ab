-- Eats memory until there is no more.
local hoard = {}
for i = 1, math.huge do
  hoard[i] = ("x"):rep(1 << 20) .. i
  if i % 8 == 0 then print(i .. " MiB") end
end
