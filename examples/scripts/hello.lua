-- What a stranger's useful script looks like: it reads the lines of an access log that the application
-- put under "access-log", counts, and leaves a report under "report" for whoever comes next.
local lines = kv_get("access-log")
if not lines then
  -- Nobody gave us any, so we bring our own.
  lines = [[
10.0.0.7  GET  /            200  5120
10.0.0.9  GET  /style.css   200  812
10.0.0.7  GET  /about       200  2048
10.0.0.7  POST /login       403  64
10.0.0.4  GET  /            200  5120
10.0.0.9  GET  /            304  0
10.0.0.7  POST /login       403  64
10.0.0.4  GET  /old-page    404  310
]]
end

local paths, total, refused = {}, 0, 0
for client, method, path, status, bytes in
    lines:gmatch("(%S+)%s+(%u+)%s+(%S+)%s+(%d+)%s+(%d+)") do
  local entry = paths[path] or { path = path, hits = 0, bytes = 0, clients = {} }
  paths[path] = entry
  entry.hits = entry.hits + 1
  entry.bytes = entry.bytes + tonumber(bytes)
  entry.clients[client] = true
  total = total + tonumber(bytes)
  if status == "403" then
    refused = refused + 1
    log(("%s was refused %s %s"):format(client, method, path))
  end
end

local sorted = {}
for _, entry in pairs(paths) do
  sorted[#sorted + 1] = entry
end
table.sort(sorted, function(a, b)
  if a.hits ~= b.hits then return a.hits > b.hits end
  return a.path < b.path
end)

local report = {}
for _, entry in ipairs(sorted) do
  local clients = 0
  for _ in pairs(entry.clients) do clients = clients + 1 end
  report[#report + 1] = ("%-12s %d hits from %d clients, %5.1f KiB"):format(
    entry.path, entry.hits, clients, entry.bytes / 1024)
end
local text = table.concat(report, "\n")
print(text)
kv_put("report", text)
kv_put("refused", tostring(refused))
return ("%d bytes in all, %d requests refused"):format(total, refused)
