/* SPDX-License-Identifier: MIT */
/*
 * The Lua 5.4 interpreter as a guest; scripts/build-lua builds it of Lua's own, unmodified sources.
 * The glue below is all there is: what a script can reach of the application are the three
 * functions imported here. Lua's own io, os and package libraries are there too, and find nothing:
 * a guest has no files, no processes and no libraries to load.
 */
#include <mote_guest.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

MOTE_IMPORT(struct mote_string, kv_get, (struct mote_string, key));
MOTE_IMPORT(void, kv_put, (struct mote_string, key), (struct mote_string, value));
MOTE_IMPORT(void, log, (struct mote_string, text));

/* One for the life of the sandbox: made before the first call, so that every call finds it warm. */
static lua_State *state;

/* ---- What scripts can call --------------------------------------------------------------------
 */

static struct mote_string check_string(lua_State *lua, int index)
{
	struct mote_string string;
	string.data = luaL_checklstring(lua, index, &string.len);
	return string;
}

/* What the application refuses is an error in the script, which pcall() can catch. */
static void check(lua_State *lua, int code)
{
	if (code != 0)
		luaL_error(lua, "%s", mote_guest_error_text());
}

/* kv_get(key): the value, or nil. The application answers "" where it has none. */
static int script_kv_get(lua_State *lua)
{
	struct mote_string value = {"", 0};
	check(lua, kv_get_try(&value, check_string(lua, 1)));
	if (value.len == 0)
		lua_pushnil(lua);
	else
		lua_pushlstring(lua, value.data, value.len);
	return 1;
}

/* kv_put(key, value): an empty value, or nil, takes the key away. */
static int script_kv_put(lua_State *lua)
{
	struct mote_string value = {"", 0};
	if (!lua_isnoneornil(lua, 2))
		value = check_string(lua, 2);
	check(lua, kv_put_try(check_string(lua, 1), value));
	return 0;
}

/* log(text) */
static int script_log(lua_State *lua)
{
	check(lua, log_try(check_string(lua, 1)));
	return 0;
}

/* ---- Life -------------------------------------------------------------------------------------
 */

static const char fib_source[] = "local function fib(n)\n"
				 "	if n < 2 then return n end\n"
				 "	return fib(n - 1) + fib(n - 2)\n"
				 "end\n"
				 "return fib";

static int prepare(lua_State *lua)
{
	luaL_openlibs(lua);
	lua_register(lua, "kv_get", script_kv_get);
	lua_register(lua, "kv_put", script_kv_put);
	lua_register(lua, "log", script_log);
	if (luaL_loadstring(lua, fib_source) != LUA_OK)
		return lua_error(lua);
	lua_call(lua, 0, 1);
	lua_setfield(lua, LUA_REGISTRYINDEX, "fib");
	lua_getglobal(lua, "math");
	lua_getfield(lua, -1, "randomseed");
	lua_setfield(lua, LUA_REGISTRYINDEX, "randomseed");
	return 0;
}

/* Lua raises errors with longjmp() to the innermost protected call, and kills the program where
 * there is none. So everything that may raise one runs in here. Leaves the results on the stack. */
static void protect(lua_CFunction function, void *argument, int results)
{
	lua_settop(state, 0);
	lua_pushcfunction(state, function);
	lua_pushlightuserdata(state, argument);
	if (lua_pcall(state, 1, results, 0) == LUA_OK)
		return;
	const char *text = lua_tostring(state, -1);
	mote_guest_fail(MOTE_GUEST_ERROR, "%s", text ? text : "an error that is not a string");
}

void mote_guest_init(void)
{
	state = luaL_newstate();
	if (!state)
		mote_guest_abort(MOTE_GUEST_MALLOC_FAILED, "no memory for the interpreter");
	protect(prepare, NULL, 0);
}

/* ---- What the application can call ------------------------------------------------------------
 */

/* Sandboxes of one snapshot start with the same memory, and should not have the same random
 * numbers. */
static void seed(lua_State *lua)
{
	static uint64_t seeded = UINT64_MAX;
	lua_Integer numbers[2];
	if (seeded == mote_guest_generation())
		return;
	seeded = mote_guest_generation();
	mote_guest_random(numbers, sizeof numbers);
	lua_getfield(lua, LUA_REGISTRYINDEX, "randomseed");
	lua_pushinteger(lua, numbers[0]);
	lua_pushinteger(lua, numbers[1]);
	lua_call(lua, 2, 0);
}

struct script {
	const char *name;
	struct mote_string source;
};

static int evaluate(lua_State *lua)
{
	const struct script *script = lua_touserdata(lua, 1);
	seed(lua);
	const char *name = lua_pushfstring(lua, "=%s", script->name);
	if (luaL_loadbuffer(lua, script->source.data, script->source.len, name) != LUA_OK)
		return lua_error(lua);
	lua_call(lua, 0, 1);
	if (lua_isnil(lua, -1))
		lua_pushliteral(lua, "");
	else
		luaL_tolstring(lua, -1, NULL);
	return 1;
}

/* Run source; errors call it name. Returns what the script returns, as text. */
MOTE_EXPORT(struct mote_string, eval, (const char *, name), (struct mote_string, source))
{
	struct script script = {name, source};
	struct mote_string result;
	protect(evaluate, &script, 1);
	result.data = lua_tolstring(state, -1, &result.len);
	return result;
}

static int call_fib(lua_State *lua)
{
	const int32_t *n = lua_touserdata(lua, 1);
	lua_getfield(lua, LUA_REGISTRYINDEX, "fib");
	lua_pushinteger(lua, *n);
	lua_call(lua, 1, 1);
	return 1;
}

/* fib(n), computed the slow way by Lua code: something to measure. */
MOTE_EXPORT(int64_t, fib, (int32_t, n))
{
	protect(call_fib, &n, 1);
	return lua_tointeger(state, -1);
}
