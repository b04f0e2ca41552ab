-- Never ends, and catches whatever could be thrown at it. Its deadline ends it.
print("looping")
while true do
  pcall(function() while true do end end)
end
