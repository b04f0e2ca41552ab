-- Breaks the interpreter itself. Lua trusts compiled code, so code that was tampered with makes it read
-- wherever one likes: here half a gigabyte behind its constants. Run by the lua command, this ends the
-- process, and could do worse.
local code = string.dump(function() local a = "x" return a end)
local load_constant_0 = string.pack("<I4", 3) -- LOADK 0 0, the function's first instruction
local load_constant_far = string.pack("<I4I4", 4, 82 | 0x1FFFFFF << 7) -- LOADKX 0, EXTRAARG
local at = code:find(load_constant_0, 1, true)
local tampered = code:sub(1, at - 1) .. load_constant_far .. code:sub(at + 8)
print("running tampered code")
return load(tampered, "tampered", "b")()
