-- Tries to get out: to files, processes, libraries, the environment, functions that it was not offered.
-- Prints what each attempt got. Lua's libraries are all there, but there is nothing behind them.
local escaped = 0

local function try(what, attempt)
  local ran, got, why = pcall(attempt)
  if ran and got then
    escaped = escaped + 1
    print(("%-30s GOT %s"):format(what, tostring(got)))
  else
    local answer = tostring(ran and why or not ran and got or "nil")
    print(("%-30s %s"):format(what, answer:match("[^\n]*")))
  end
end

try("read /etc/passwd", function() return io.open("/etc/passwd") end)
try("write /tmp/owned", function() return io.open("/tmp/owned", "w") end)
try("remove a file", function() return os.remove("/tmp/x") end)
try("make a temporary file", function() return io.tmpfile() end)
try("name a temporary file", function() return os.tmpname() end)
try("run a command", function() return os.execute("id") end)
try("run a command, with a pipe", function() return io.popen("id"):read("a") end)
try("read the environment", function() return os.getenv("HOME") or os.getenv("PATH") end)
try("read standard input", function() return io.read("L") end)
try("load a C library", function() return package.loadlib("libc.so.6", "system") end)
try("require a module", function() return require("socket") end)
try("read this script's file", function() return loadfile("escape.lua") end)
try("functions by likely names", function()
  for _, name in ipairs { "exec", "system", "kv_delete", "kv_list", "host", "mote" } do
    if _G[name] then return name end
  end
end)
try("a key of another type", function() return kv_get({}) end)
try("a key that is no UTF-8", function() return kv_get("\xFF\xFE") end)
try("a key that is far too long", function() return kv_put(("k"):rep(100000), "v") end)
try("fill the store", function()
  for i = 1, 1000 do kv_put("filler " .. i, "x") end
  return "all of it"
end)
for i = 1, 1000 do
  if not pcall(kv_put, "filler " .. i, "") then break end
end

-- Texts reach the terminal of whoever runs this; they must not steer it.
print("clear the screen: \27[2J\27[H\7")
return escaped == 0 and "did not get out" or escaped .. " attempts got something"
